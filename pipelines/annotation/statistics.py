"""How the annotators did: answers, time, agreement with each other, accuracy where the truth is known."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from numpy.typing import NDArray

from pipelines.annotation.answers import Answer
from pipelines.annotation.rounds import Standing, median


def annotators(
    rounds: Mapping[int, Standing], masks: Callable[[str], NDArray[Any] | None] | None = None
) -> list[dict[str, Any]]:
    """A row per annotator.

    Args:
        rounds: The rounds with their answers.
        masks: Gives the mask of an image, None where it has none; None = there are none at all.

    Returns:
        annotator, answers (current ones), median_seconds, pairs (questions that another person answered too, one per
        such person) and agreement (share of them with the same answer), controls (control points answered) and accuracy
        (share of them that the mask confirms); None where there is nothing to divide by. By name.
    """
    seconds: dict[str, list[float | None]] = defaultdict(list)
    pairs: dict[str, list[bool]] = defaultdict(list)
    controls: dict[str, list[bool]] = defaultdict(list)
    for standing in rounds.values():
        for question in standing.questions:
            given = standing.given(question)
            for name, row in given.items():
                seconds[name].append(row.seconds)
            for (one, first), (other, second) in combinations(sorted(given.items()), 2):
                same = _said(first) == _said(second)
                pairs[one].append(same)
                pairs[other].append(same)
            if question.purpose == "control" and masks is not None:
                for name, right in _right(given, masks(question.image_id)).items():
                    controls[name].append(right)
    return [
        {
            "annotator": name,
            "answers": len(seconds[name]),
            "median_seconds": median(seconds[name]),
            "pairs": len(pairs[name]),
            "agreement": _share(pairs[name]),
            "controls": len(controls[name]),
            "accuracy": _share(controls[name]),
        }
        for name in sorted(seconds)
    ]


def _said(row: Answer) -> tuple[int | None, Any]:
    return row.class_id, None if row.value is None else json.loads(row.value)


def _right(given: Mapping[str, Answer], mask_HW: NDArray[Any] | None) -> dict[str, bool]:
    if mask_HW is None:
        return {}
    return {name: bool(mask_HW[row.y, row.x] == row.class_id) for name, row in given.items()}


def _share(values: list[bool]) -> float | None:
    return sum(values) / len(values) if values else None
