"""A run's rounds in words and rows."""

import pytest

from pipelines.summary import COLUMNS, annotation_time, columns, means, percent, row, sentence

METRICS = {
    "round": 1,
    "labels_per_image": 20.0,
    "seconds": 852.0,
    "validation": {"miou": 0.41234, "boundary": {"f1": None}},
}


def test_row_has_every_column_and_marks_the_chosen_round() -> None:
    assert row(METRICS, chosen=1) == ["1 *", "20.0", "14 min", "41.2", "-"]
    assert row(METRICS, chosen=0)[0] == "1"
    assert len(row(METRICS, chosen=0)) == len(COLUMNS)


def test_without_validation_there_are_dashes() -> None:
    assert row({**METRICS, "validation": None}, chosen=0)[3:] == ["-", "-"]
    assert "trained" in sentence({**METRICS, "validation": None}, took=1)


def test_an_estimate_stands_in_where_there_are_no_masks() -> None:
    blind = {**METRICS, "validation": None, "estimate": {"accuracy": 0.5, "low": 0.4, "high": 0.625}}
    assert columns([METRICS]) == COLUMNS
    assert len(columns([blind])) == len(row(blind, chosen=0)) == len(COLUMNS) + 1
    assert row(blind, chosen=0)[-1] == "50.0 (40.0 to 62.5)"
    assert "accuracy 50.0 (40.0 to 62.5)" in sentence(blind, took=1)


def test_sentence() -> None:
    assert sentence(METRICS, took=61.6) == "round 1: 20.0 labels per image, mIoU 41.2, boundary F1 - (62 s)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_annotation_time(seconds: float, text: str) -> None:
    assert annotation_time(seconds) == text


def test_percent() -> None:
    assert percent(0.5) == "50.0"


def test_means_name_what_is_there():
    assert means({"miou": 0.5}) == "mIoU 50.0"
    assert means({"miou": 0.5, "miou_labelled": 0.625}) == "mIoU 50.0, without unlabeled 62.5"
    assert means({"miou": 0.5, "foreground_iou": None}) == "mIoU 50.0, foreground IoU -"
