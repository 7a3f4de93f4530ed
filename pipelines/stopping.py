"""When the rounds end."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config import Config
from pipelines.rounds import worth
from weakseg.errors import WeaksegError


def check_budget(config: Config, *, images: int) -> None:
    """Refuse a budget that the first round would exceed.

    Args:
        config: Its `labelling` and `stop` sections.
        images: How many images a round asks about.

    Raises:
        WeaksegError: The first round asks more.
    """
    budget, first = config.stop.budget, images * config.labelling.pixels_per_image
    if config.supervision.points and budget is not None and first > budget:
        raise WeaksegError(
            f"stop.budget: expected at least the {first} labels that the first round asks, got {budget}; "
            "raise it, or lower labelling.pixels_per_image"
        )


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
    if patience is not None and len(rounds) > patience:
        scores = [worth(metrics) for metrics in rounds]
        known = [score for score in scores if score is not None]
        if len(known) == len(scores) and max(known[-patience:]) < max(known[:-patience]) + config.stop.delta:
            what = "validation mIoU" if rounds[-1]["validation"] else "the estimated accuracy"
            return f"{what} has not risen by {config.stop.delta} for {patience} rounds"
    return None
