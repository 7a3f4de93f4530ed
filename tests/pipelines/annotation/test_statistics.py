"""How annotators did, counted from their answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipelines.annotation.answers import Answer
from pipelines.annotation.asked import Question
from pipelines.annotation.rounds import Standing
from pipelines.annotation.statistics import annotators

PEOPLE = frozenset({"anna", "ben", "carl"})


def question(row: int, image_id: str = "a", kind: str = "pixel", purpose: str = "train") -> Question:
    y = -1 if kind in ("proportions", "coarse") else row
    return Question(row, (0, kind, image_id, y, y, -1), 1, purpose)


def answer(
    to: Question, annotator: str, class_id: int | None = 0, *, value: str | None = None, seconds: float | None = 1.0
) -> Answer:
    return Answer(*to.place, annotator, class_id, value, seconds, labelled_at="2025-01-01T00:00:00+00:00")


def counted(questions: Sequence[Question], answers: Sequence[Answer], masks: Any = None) -> dict[str, dict[str, Any]]:
    standing = Standing(0, list(questions), PEOPLE)
    standing.feed(answers)
    return {row["annotator"]: row for row in annotators({0: standing}, masks)}


def test_nobody_answered():
    assert counted([question(0)], []) == {}


def test_one_alone_has_nobody_to_agree_with():
    one = question(0)
    assert counted([one], [answer(one, "anna", seconds=3.0)]) == {
        "anna": {
            "annotator": "anna",
            "answers": 1,
            "median_seconds": 3.0,
            "pairs": 0,
            "agreement": None,
            "controls": 0,
            "accuracy": None,
        }
    }


def test_answers_whose_time_is_not_known_count_without_it():
    one, two, three = question(0), question(1), question(2)
    known = [answer(one, "anna", seconds=3.0), answer(two, "anna", seconds=None), answer(three, "ben", seconds=None)]
    rows = counted([one, two, three], known)
    assert {name: (row["answers"], row["median_seconds"]) for name, row in rows.items()} == {
        "anna": (2, 3.0),
        "ben": (1, None),
    }


def test_current_answers_count_and_nothing_before_them():
    one, two, three = question(0), question(1), question(2)
    rows = counted(
        [one, two, three],
        [
            answer(one, "anna", 0, seconds=90.0),
            answer(one, "anna", 1, seconds=2.0),
            answer(two, "anna", 1, seconds=50.0),
            answer(two, "anna", None),
            answer(three, "anna", 1, seconds=4.0),
            answer(three, "ben", 1),
            answer(one, "ben", 0),
            answer(one, "ben", 1),
        ],
    )
    assert (rows["anna"]["answers"], rows["anna"]["median_seconds"]) == (2, 3.0)
    assert (rows["anna"]["pairs"], rows["anna"]["agreement"]) == (2, 1.0)


def test_each_is_compared_with_each_and_rows_come_by_name():
    one, two = question(0), question(1)
    rows = counted(
        [one, two],
        [
            answer(one, "carl", 2),
            answer(one, "anna", 2),
            answer(one, "ben", 0),
            *(answer(two, n) for n in ("ben", "anna")),
        ],
    )
    assert [(name, row["pairs"], row["agreement"]) for name, row in rows.items()] == [
        ("anna", 3, pytest.approx(2 / 3)),
        ("ben", 3, pytest.approx(1 / 3)),
        ("carl", 2, 0.5),
    ]


def test_all_rounds_are_counted_together():
    one = question(0)
    standings = {}
    for number, class_id in ((0, 0), (1, 1)):
        standings[number] = Standing(number, [one], PEOPLE)
        standings[number].feed([answer(one, "anna", 0), answer(one, "ben", class_id)])
    rows = annotators(standings)
    assert [(row["answers"], row["pairs"], row["agreement"]) for row in rows] == [(2, 2, 0.5)] * 2


@pytest.mark.parametrize(
    ("kind", "first", "second", "agreement"),
    [
        ("proportions", "[0.5,0.5]", "[0.5,0.5]", 1.0),
        ("proportions", "[1,0]", "[1.0,0.0]", 1.0),
        ("proportions", "[0.5,0.5]", "[0.9,0.1]", 0.0),
        ("coarse", "[]", '[{"class_id":1,"points":[[0,0],[4,0],[4,4]]}]', 0.0),
        ("coarse", None, "[]", 0.0),
        ("coarse", None, None, 1.0),
    ],
)
def test_whole_images_agree_where_their_values_do(kind: str, first: str | None, second: str | None, agreement: float):
    whole = question(0, kind=kind)
    given = {"anna": first, "import:a.json": second}
    rows = counted(
        [whole], [answer(whole, name, 255 if text is None else None, value=text) for name, text in given.items()]
    )
    assert [(row["pairs"], row["agreement"]) for row in rows.values()] == [(1, agreement)] * 2


def test_accuracy_is_counted_at_control_points_with_a_mask():
    mask_HW = np.diag([0, 1, 2, 3]).astype(np.uint8)
    controls = [question(row, purpose="control") for row in range(4)]
    unmasked, other = question(3, "b", purpose="control"), question(2, "c", purpose="holdout")
    answers = [answer(one, "anna", class_id) for one, class_id in zip(controls, (0, 1, 0, 255), strict=True)]
    answers += [answer(controls[1], "ben", 1), answer(unmasked, "anna", 3), answer(other, "anna", 2)]
    masks = {"a": mask_HW, "c": mask_HW}.get
    rows = counted([*controls, unmasked, other], answers, masks)
    assert (rows["anna"]["controls"], rows["anna"]["accuracy"]) == (4, 0.5)  # who cannot tell has not told
    assert (rows["ben"]["controls"], rows["ben"]["accuracy"]) == (1, 1.0)
    assert counted(controls, answers)["anna"]["controls"] == 0
