"""When the rounds end."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config import Config


def stop_reason(config: Config, rounds: Sequence[Mapping[str, Any]], *, images: int) -> str | None:
    """Why there is no further round, or None.

    Args:
        config: Its `labelling` and `stop` sections.
        rounds: The metrics of the rounds so far, at least one.
        images: How many images a round asks about.

    Returns:
        A reason as people read it: the rounds are done, the budget is used up, or the gain is.
    """
    if len(rounds) >= config.labelling.rounds:
        return "all rounds are done"
    budget = config.stop.budget
    if budget is not None and rounds[-1]["labels"] + images * config.labelling.pixels_per_image > budget:
        return f"another round would exceed the budget of {budget} labels"
    patience = config.stop.patience
    if patience is not None and len(rounds) > patience and all(metrics["validation"] for metrics in rounds):
        miou = [metrics["validation"]["miou"] for metrics in rounds]
        if max(miou[-patience:]) < max(miou[:-patience]) + config.stop.delta:
            return f"validation mIoU has not risen by {config.stop.delta} for {patience} rounds"
    return None
