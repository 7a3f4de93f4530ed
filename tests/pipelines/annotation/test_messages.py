"""What the page may send, and what becomes of it."""

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.annotation.asked import Question
from pipelines.annotation.desk import Entry, Refused
from pipelines.annotation.messages import Batch, Given, Images, Token, entry, shown
from weakseg.schema import VOID
from weakseg.supervision import Polygon, decode_polygons

TRIANGLE = [[0, 0], [64, 0], [64, 48]]


def given(**fields: Any) -> Given:
    return Given.model_validate({"query": "0-1-abc", "seconds": 1.5} | fields)


def question(kind: str) -> Question:
    return Question(0, (0, kind, "a", -1, -1, -1), 1, "train")


def entered(kind: str, **fields: Any) -> Entry:
    return entry(given(**fields), question(kind), classes=3, size=(48, 64))


def refused(kind: str, **fields: Any) -> str:
    with pytest.raises(Refused) as caught:
        entered(kind, **fields)
    assert caught.value.code == "bad_request"
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "exactly one of class, proportions, polygons and void"),
        ({"class": 1, "void": True}, "exactly one of"),
        ({"class": None, "proportions": None}, "exactly one of"),
        ({"class": -1}, "greater than or equal to 0"),
        ({"class": 256}, "less than or equal to 255"),
        ({"class": "1"}, "valid integer"),
        ({"class": True}, "valid integer"),
        ({"class": 1.5}, "valid integer"),
        ({"class_": 1}, "class_\n  Extra inputs"),
        ({"class": 1, "extra": 1}, "extra\n  Extra inputs"),
        ({"class": 1, "seconds": -1.0}, "seconds\n"),
        ({"class": 1, "seconds": "x"}, "seconds\n"),
        ({"class": 1, "seconds": math.nan}, "finite number"),
        ({"class": 1, "query": "x" * 81}, "at most 80 characters"),
        ({"class": 1, "replaces": "x" * 33}, "at most 32 characters"),
        ({"void": False}, "True"),
        ({"proportions": [math.nan, 0.5, 0.5]}, "finite number"),
        ({"proportions": [1e308] * 3}, "less than or equal to"),
        ({"proportions": [0.0] * 255}, "at most 254 items"),
        ({"polygons": [{"class": 255, "points": TRIANGLE}]}, "less than or equal to 254"),
        ({"polygons": [{"class": 1, "points": TRIANGLE[:2]}]}, "at least 3 items"),
        ({"polygons": [{"class": 1, "points": TRIANGLE, "holes": [TRIANGLE[:2]]}]}, "at least 3 items"),
        ({"polygons": [{"class": 1, "points": [[0, 0, 0], *TRIANGLE]}]}, "points.0"),
        ({"polygons": [{"class": 1, "points": [[0, math.inf], *TRIANGLE]}]}, "points.0"),
        ({"polygons": [{"points": TRIANGLE}]}, "Field required"),
    ],
)
def test_a_faulty_answer_is_refused(fields: dict[str, Any], words: str):
    with pytest.raises(ValidationError) as caught:
        given(**fields)
    assert words in str(caught.value)


def test_lists_are_neither_empty_nor_endless():
    answer = {"query": "q", "seconds": 1, "class": 1}
    assert len(Batch.model_validate({"answers": [answer] * 50}).answers) == 50
    assert len(Images.model_validate({"images": ["a"] * 16}).images) == 16
    for faulty in ([], [answer] * 51):
        with pytest.raises(ValidationError):
            Batch.model_validate({"answers": faulty})
    for names in ([], ["a"] * 17, ["x" * 81]):
        with pytest.raises(ValidationError):
            Images.model_validate({"images": names})
    with pytest.raises(ValidationError):
        Token.model_validate({"token": "x" * 201})


@pytest.mark.parametrize("kind", ["pixel", "region"])
@pytest.mark.parametrize("class_id", [0, 2, VOID, None])
def test_a_class_answers_a_pixel_or_a_region(kind: str, class_id: int | None):
    found = entered(kind, **{"class": class_id}, replaces="before")
    assert found == Entry(question(kind), class_id, None, 1.5, "before")


def test_an_answer_that_replaces_none_says_so_with_nothing():
    assert entered("pixel", **{"class": 1}).replaces == entered("pixel", **{"class": 1}, replaces=None).replaces == ""


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("pixel", {"void": True}, "class"),
        ("region", {"proportions": [1, 0, 0]}, "class"),
        ("proportions", {"class": 1}, "proportions"),
        ("proportions", {"polygons": []}, "proportions"),
        ("coarse", {"proportions": None}, "polygons"),
    ],
)
def test_an_answer_of_another_kind_is_refused(kind: str, fields: dict[str, Any], expected: str):
    assert refused(kind, **fields) == f"Expected {expected} for a question of kind {kind}."


def test_a_class_that_is_not_there_is_refused():
    assert refused("pixel", **{"class": 3}) == "There is no class 3: expected 0 to 2, or 255 for void."
    polygon = {"class": 3, "points": TRIANGLE}
    assert refused("coarse", polygons=[polygon]) == "There is no class 3: expected 0 to 2."


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.5, 0.3, 0.205], [0, 0, 0.995]])
def test_shares_are_stored_with_a_sum_of_1(shares: list[float]):
    found = entered("proportions", proportions=shares)
    assert found.class_id is None
    stored = json.loads(found.value or "")
    assert math.fsum(stored) == pytest.approx(1, abs=1e-12)
    assert stored == pytest.approx([share / sum(shares) for share in shares])


@pytest.mark.parametrize(
    ("shares", "total"),
    [([0.5, 0.5], "1"), ([], "0"), ([-0.1, 0.6, 0.5], "1"), ([0.5, 0.3, 0.1], "0.9"), ([9] * 3, "27")],
)
def test_shares_that_are_none_are_refused(shares: list[float], total: str):
    message = f"Expected 3 proportions from 0 that sum to 1, got a sum of {total}."
    assert refused("proportions", proportions=shares) == message


@pytest.mark.parametrize(("kind", "field"), [("proportions", "proportions"), ("coarse", "polygons")])
def test_a_whole_image_can_be_void_or_taken_back(kind: str, field: str):
    void, back = entered(kind, void=True), entered(kind, **{field: None})
    assert (void.class_id, void.value) == (VOID, None)
    assert (back.class_id, back.value) == (None, None)


def test_polygons_are_stored_as_they_were_drawn():
    hole = [[40, 4], [50, 4], [50, 8]]
    drawn = [{"class": 2, "points": TRIANGLE, "holes": [hole]}, {"class": 0, "points": hole}]
    found = entered("coarse", polygons=drawn)
    assert found.class_id is None
    corners, inner = (tuple((float(x), float(y)) for x, y in ring) for ring in (TRIANGLE, hole))
    assert decode_polygons(found.value or "") == (Polygon(2, corners, (inner,)), Polygon(0, inner))
    assert entered("coarse", polygons=[]).value == "[]"


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        ({"points": [[0, 0], [64.5, 0], [64, 48]]}, "A point lies outside the image of 64 x 48 pixels."),
        ({"points": [[0, 0], [64, 0], [48, 48.5]]}, "A point lies outside"),
        ({"points": [[-0.5, 0], [64, 0], [64, 48]]}, "A point lies outside"),
        ({"points": TRIANGLE, "holes": [[[1, 1], [2, 2], [3, 99]]]}, "A point lies outside"),
        ({"points": [[0, 0], [0, 0], [64, 48]]}, "A polygon needs at least 3 different points."),
        ({"points": TRIANGLE, "holes": [[[1, 1], [2, 2], [1, 1]]]}, "A polygon needs at least 3"),
    ],
)
def test_a_polygon_that_is_none_is_refused(polygon: dict[str, Any], words: str):
    good = {"class": 0, "points": TRIANGLE}
    assert words in refused("coarse", polygons=[good, {"class": 1} | polygon])


@pytest.mark.parametrize(
    ("kind", "fields", "content"),
    [
        ("pixel", {"class": 2}, {"class": 2}),
        ("region", {"class": None}, {"class": None}),
        ("proportions", {"proportions": [0.5, 0.25, 0.25]}, {"proportions": [0.5, 0.25, 0.25]}),
        ("proportions", {"proportions": None}, {"proportions": None}),
        ("proportions", {"void": True}, {"proportions": None, "void": True}),
        (
            "coarse",
            {"polygons": [{"class": 2, "points": TRIANGLE}]},
            {"polygons": [{"class": 2, "points": TRIANGLE, "holes": []}]},
        ),
        (
            "coarse",
            {"polygons": [{"class": 0, "points": TRIANGLE, "holes": [TRIANGLE]}]},
            {"polygons": [{"class": 0, "points": TRIANGLE, "holes": [TRIANGLE]}]},
        ),
        ("coarse", {"polygons": []}, {"polygons": []}),
        ("coarse", {"polygons": None}, {"polygons": None}),
        ("coarse", {"void": True}, {"polygons": None, "void": True}),
    ],
)
def test_the_page_gets_back_what_it_sent(kind: str, fields: dict[str, Any], content: dict[str, Any]):
    found = entered(kind, **fields)
    assert shown(found.class_id, found.value, kind) == content
