"""How predictions for scoring are made: the model's own, or a committee's vote."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.config import Config
from pipelines.pool import PoolImage
from weakseg import inference, seeding
from weakseg.acquisition import COMMITTEE_SCORES, SCORES, VOTES, committee_score, scores_from_logits

At = Callable[[NDArray[np.int64], NDArray[np.int64]], Tensor]
"""Probabilities (C, N) at pixels: those of a whole map would cost as much as the scores."""


@dataclass(frozen=True)
class Voting:
    """Scores of images by an acquisition function.

    Args:
        acquisition: Its name.
        passes: Members of the committee; None = the plain prediction.
        vote: soft or hard.
        seed: The run's seed.
    """

    acquisition: str
    passes: int | None
    vote: str
    seed: int

    @classmethod
    def of(cls, config: Config) -> "Voting":
        """As configured."""
        labelling = config.labelling
        committee = labelling.committee
        passes, vote = (None, "soft") if committee is None else (committee.passes, committee.vote)
        return cls(labelling.acquisition, passes, vote, config.seed)

    def probabilities(
        self, model: nn.Module, rows: Sequence[PoolImage], *, round: int, batch_size: int | None = None
    ) -> Iterator[Tensor]:
        """probs_CHW per image: the model's own, so many images at a time, or the committee's vote."""
        if self.passes is None:
            images = (row.image for row in rows)
            yield from inference.probabilities(model, images, batch_size=batch_size)
        else:
            for members in self._members(model, rows, round):
                yield VOTES[self.vote](member_CHW[None] for member_CHW in members)[0]

    def scores(
        self, model: nn.Module, rows: Sequence[PoolImage], *, round: int, batch_size: int | None = None
    ) -> Iterator[tuple[Tensor, At | None]]:
        """Per image: scores_HW, and the prediction that they come from (None where no single one gave them)."""
        if self.passes is None:
            images = (row.image for row in rows)
            for logits_CHW in inference.logits(model, images, batch_size=batch_size):
                yield scores_from_logits(self.acquisition, logits_CHW[None])[0], partial(_probabilities_at, logits_CHW)
        elif self.acquisition in COMMITTEE_SCORES:
            for members in self._members(model, rows, round):
                yield committee_score(self.acquisition, (member_CHW[None] for member_CHW in members))[0], None
        else:
            for probs_CHW in self.probabilities(model, rows, round=round):
                yield SCORES[self.acquisition](probs_CHW[None])[0], partial(_at, probs_CHW)

    def _members(self, model: nn.Module, rows: Sequence[PoolImage], round: int) -> Iterator[Iterator[Tensor]]:
        assert self.passes is not None
        seeds = (seeding.integer(self.seed, "committee", round=round, image_id=row.image_id) for row in rows)
        images = (row.image for row in rows)
        return inference.committee(model, images, passes=self.passes, seeds=seeds)


def _probabilities_at(logits_CHW: Tensor, y_N: NDArray[np.int64], x_N: NDArray[np.int64]) -> Tensor:
    logits_CN = logits_CHW[:, y_N, x_N].float()
    return logits_CN.sigmoid() if len(logits_CN) == 1 else logits_CN.softmax(0)


def _at(probs_CHW: Tensor, y_N: NDArray[np.int64], x_N: NDArray[np.int64]) -> Tensor:
    return probs_CHW[:, y_N, x_N]
