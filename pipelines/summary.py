"""A run's rounds in words and rows."""

from collections.abc import Mapping
from typing import Any

COLUMNS = ["round", "labels per image", "annotation", "mIoU", "boundary F1"]


def row(metrics: Mapping[str, Any], *, chosen: int) -> list[str]:
    """A round as a row of the final table; the chosen one has a star."""
    scores = metrics["validation"]
    return [
        f"{metrics['round']}{' *' if metrics['round'] == chosen else ''}",
        f"{metrics['labels_per_image']:.1f}",
        annotation_time(metrics["seconds"]),
        percent(scores and scores["miou"]),
        percent(scores and scores["boundary"]["f1"]),
    ]


def sentence(metrics: Mapping[str, Any], *, took: float) -> str:
    """A finished round in one line.

    Args:
        metrics: The round's.
        took: Seconds it lasted.
    """
    scores = metrics["validation"]
    result = f"mIoU {percent(scores['miou'])}, boundary F1 {percent(scores['boundary']['f1'])}" if scores else "trained"
    return f"round {metrics['round']}: {metrics['labels_per_image']:.1f} labels per image, {result} ({took:.0f} s)"


def means(scores: Mapping[str, Any]) -> str:
    """The mean IoU, and what some data sets report beside it."""
    found = {"mIoU": "miou", "without unlabeled": "miou_labelled", "foreground IoU": "foreground_iou"}
    return ", ".join(f"{name} {percent(scores[key])}" for name, key in found.items() if key in scores)


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def annotation_time(seconds: float) -> str:
    """A person's time as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


SCORE_COLUMNS = ["split", "images", "mIoU", "boundary F1"]


def score_rows(scores: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Scores by split as a table's rows."""
    return [
        [split, str(found["images"]), percent(found["miou"]), percent(found["boundary"]["f1"])]
        for split, found in scores.items()
    ]
