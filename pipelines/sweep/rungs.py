"""Asynchronous successive halving (ASHA, Li et al., 2020): which trials are behind those seen before them.

What was seen is kept in the ledger, with each verdict: every batch of trials and every call of the same sweep is
compared with all that went before, and a trial that is begun again is judged as it was.
"""

import math

import numpy as np

from pipelines.config.sweep import Asha
from pipelines.ledger import Ledger

RUNGS = "rungs.json"


class Rungs:
    """The rungs of a sweep, at reports grace, grace * reduction, grace * reduction^2, ...

    Args:
        asha: Where they are.
        ledger: The sweep's, held by this driver.
    """

    def __init__(self, asha: Asha, ledger: Ledger) -> None:
        self._asha, self._ledger = asha, ledger
        # by rung and trial: the score, None where it is no number, and whether it was behind
        self._seen: dict[str, dict[str, tuple[float | None, bool]]] = (
            ledger.read_json(RUNGS) if ledger.exists(RUNGS) else {}
        )

    def behind(self, trial: str, step: int, score: float, *, last: bool = False) -> bool:
        """Whether a trial is to be stopped: at a rung, below the best 1 / reduction of those seen there before.

        Args:
            trial: Its name.
            step: The number of its report, from 1.
            score: What it reports; higher is better.
            last: Whether its work is done: such a trial is not stopped any more.
        """
        rung = self._asha.grace
        while rung < step:
            rung *= self._asha.reduction
        if rung != step:
            return False
        seen = self._seen.setdefault(str(rung), {})
        if trial not in seen:
            others = [other for other, _ in seen.values() if other is not None]
            bar = np.quantile(others, 1 - 1 / self._asha.reduction) if others else -math.inf
            behind = bool(others) and not last and not score >= bar
            seen[trial] = (score if math.isfinite(score) else None, behind)
            self._ledger.write_json(RUNGS, self._seen)
        return seen[trial][1]
