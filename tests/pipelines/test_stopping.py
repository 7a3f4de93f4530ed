"""When the rounds end."""

from contextlib import nullcontext
from typing import Any

import pytest

from pipelines.config import load
from pipelines.stopping import check_budget, stop_reason
from weakseg.errors import WeaksegError


def rounds(*miou: float, labels: int = 100) -> list[dict[str, Any]]:
    """Metrics of rounds with these validation scores."""
    return [{"labels": labels * (k + 1), "validation": {"miou": value}} for k, value in enumerate(miou)]


def test_goes_on_by_default() -> None:
    config = load("demo", ["labelling.rounds=9"])
    assert stop_reason(config, rounds(0.5, 0.4, 0.3, 0.2), images=10) is None


def test_ends_after_the_last_round() -> None:
    assert stop_reason(load("demo", ["labelling.rounds=2"]), rounds(0.1, 0.2), images=10) == "all rounds are done"


@pytest.mark.parametrize(("budget", "ends"), [(200, False), (199, True)])
def test_budget_is_never_exceeded(budget: int, ends: bool) -> None:
    config = load("demo", ["labelling.rounds=9", "labelling.pixels_per_image=10", f"stop.budget={budget}"])
    assert (stop_reason(config, rounds(0.1), images=10) is not None) is ends


@pytest.mark.parametrize(("budget", "enough"), [(100, True), (99, False)])
def test_a_budget_that_the_first_round_would_exceed_is_refused(budget: int, enough: bool) -> None:
    config = load("demo", ["labelling.pixels_per_image=10", f"stop.budget={budget}"])
    with nullcontext() if enough else pytest.raises(WeaksegError, match=r"^stop\.budget: .* 100 .*, got 99; .*"):
        check_budget(config, images=10)
    check_budget(load("demo", ["supervision={points: false, masks: true}", "stop.budget=1"], verb="train"), images=10)


@pytest.mark.parametrize(
    ("miou", "ends"),
    [
        ((0.30, 0.40), False),  # fewer rounds than patience asks for
        ((0.30, 0.40, 0.405), False),  # the last two brought more than delta over the first
        ((0.40, 0.405, 0.409), True),
        ((0.40, 0.300, 0.411), False),
        ((0.30, 0.40, 0.405, 0.409), True),
    ],
)
def test_patience_counts_rounds_without_gain(miou: tuple[float, ...], ends: bool) -> None:
    config = load("demo", ["labelling.rounds=9", "stop.patience=2", "stop.delta=0.01"])
    assert (stop_reason(config, rounds(*miou), images=10) is not None) is ends


def test_patience_needs_validation() -> None:
    config = load("demo", ["labelling.rounds=9", "stop.patience=1", "stop.delta=0.01"])
    blind = [{"labels": 1, "validation": None}, {"labels": 2, "validation": None}]
    assert stop_reason(config, blind, images=10) is None


def test_without_masks_the_estimated_accuracy_decides() -> None:
    config = load("demo", ["labelling.rounds=9", "stop.patience=1", "stop.delta=0.01"])
    blind = [{"labels": 1, "validation": None, "estimate": {"accuracy": value}} for value in (0.5, 0.505)]
    assert stop_reason(config, blind, images=10) == "the estimated accuracy has not risen by 0.01 for 1 rounds"
    blind[1]["estimate"] = {"accuracy": 0.6}
    assert stop_reason(config, blind, images=10) is None
