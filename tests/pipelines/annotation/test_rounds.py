"""What is open, complete and decided as the answers of a round come in."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count

import pytest

from pipelines.annotation.answers import Answer
from pipelines.annotation.asked import Question
from pipelines.annotation.rounds import Standing, Tally, needed

PEOPLE = frozenset({"anna", "ben", "carl"})
NOW = 1_000_000.0
numbers = count(1)


def question(row: int, image_id: str = "a", kind: str = "pixel", *, copies: int = 1) -> Question:
    y = -1 if kind in ("proportions", "coarse") else row
    return Question(row, (0, kind, image_id, y, y, -1), copies, "train")


def answer(
    to: Question,
    annotator: str,
    class_id: int | None = 0,
    *,
    value: str | None = None,
    seconds: float | None = 1.0,
    at: float = NOW,
) -> Answer:
    moment = datetime.fromtimestamp(at, UTC).isoformat()
    return Answer(*to.place, annotator, class_id, value, seconds, labelled_at=moment, seq=next(numbers))


def standing(*asked: Question, people: frozenset[str] = PEOPLE) -> Standing:
    return Standing(0, list(asked), people)


def opened(made: Standing, who: str = "anna", page: str = "pixel") -> list[str]:
    return list(made.open_images(page, who))


def test_questions_are_found_by_place_and_by_page_and_image():
    pixel, region, whole = question(0), question(1, kind="region"), question(2, kind="coarse")
    made = standing(pixel, region, whole, question(3, "b"))
    assert made.by_place[region.place] == region
    assert made.by_image["pixel", "a"] == [pixel, region]
    assert made.by_image["coarse", "a"] == [whole]


def test_nothing_asked_is_complete_and_has_no_page():
    made = standing()
    assert made.complete(1.0)
    assert made.complete(0.5)
    assert made.progress("anna", 1.0, now=NOW) == {}


def test_an_image_is_open_until_its_last_question_is_answered():
    one, two, other = question(0, "b"), question(1, "b"), question(2, "a")
    made = standing(one, two, other)
    assert opened(made) == ["b", "a"]  # in the round's order, not by name
    made.feed([answer(one, "anna")])
    assert opened(made) == ["b", "a"]
    made.feed([answer(two, "ben")])
    assert opened(made) == ["a"]
    assert not made.complete(1.0)
    made.feed([answer(other, "ben")])
    assert opened(made) == []
    assert made.complete(1.0)


def test_what_was_taken_back_is_open_again():
    asked = question(0)
    made = standing(asked)
    made.feed([answer(asked, "anna", 1)])
    back = answer(asked, "anna", None)
    made.feed([back])
    assert made.given(asked) == {}
    assert made.mine(asked, "anna") == back
    assert opened(made) == ["a"]
    assert not made.complete(1.0)
    made.feed([answer(asked, "anna", 2)])
    assert made.complete(1.0)
    assert made.decision(asked) == 2


def test_rows_to_what_was_not_asked_are_passed_over():
    asked = question(0)
    made = standing(asked)
    made.feed([answer(question(7), "anna"), answer(asked, "ben")])
    assert made.heads.keys() == {asked.place}
    assert made.progress("anna", 1.0, now=NOW)["pixel"]["mine"] == 0


def test_a_question_is_shown_to_whom_it_may_ask_and_to_who_answered_it():
    asked = question(0)
    made = standing(asked)
    assert made.for_me(asked, "anna")
    made.feed([answer(asked, "anna")])
    assert made.for_me(asked, "anna")
    assert not made.for_me(asked, "ben")
    made.feed([answer(asked, "anna", None)])
    assert made.for_me(asked, "anna")
    assert made.for_me(asked, "ben")
    made.feed([answer(asked, "ben")])
    assert not made.for_me(asked, "anna")


def test_a_question_to_two_people_is_not_open_for_who_answered_it():
    asked = question(0, copies=2)
    made = standing(asked)
    made.feed([answer(asked, "anna")])
    assert opened(made, "anna") == []
    assert opened(made, "ben") == ["a"]
    made.feed([answer(asked, "ben")])
    assert opened(made, "carl") == []


def test_an_image_is_not_open_for_who_has_nothing_left_to_say_there():
    one, two = question(0), question(1, copies=2)
    made = standing(one, two)
    made.feed([answer(one, "ben"), answer(two, "anna")])
    assert opened(made, "anna") == []
    assert opened(made, "ben") == opened(made, "carl") == ["a"]


def test_nobody_is_asked_twice_where_there_are_too_few():
    asked = question(0, copies=2)
    made = standing(asked, people=frozenset({"anna"}))
    made.feed([answer(asked, "anna")])
    assert made.complete(1.0)
    assert made.progress("anna", 1.0, now=NOW)["pixel"]["asked"] == 1


def test_who_disagrees_brings_in_one_more_as_long_as_there_is_one():
    asked = question(0, copies=2)
    made = standing(asked)
    made.feed([answer(asked, "anna", 1), answer(asked, "ben", 2)])
    assert made.lacks(asked)
    assert not made.complete(1.0)
    assert made.decision(asked) is None
    assert opened(made, "carl") == ["a"]
    made.feed([answer(asked, "carl", 0)])
    assert made.complete(1.0)
    assert made.decision(asked) == 255
    made.feed([answer(asked, "carl", 2)])
    assert made.decision(asked) == 2


@pytest.mark.parametrize(
    ("classes", "copies", "wanted"),
    [
        ({}, 1, 1),
        ({}, 5, 3),
        ({"anna": 1}, 1, 1),
        ({"import:a.csv": 1, "anna": 2}, 1, 3),
        ({"import:a.csv": 1, "anna": 2, "ben": 0}, 1, 4),
        ({"import:a.csv": 1, "anna": 2, "ben": 0, "carl": 3}, 1, 1),  # all four were asked: nobody is left
    ],
)
def test_files_count_beside_people(classes: Mapping[str, int], copies: int, wanted: int):
    asked = question(0, copies=copies)
    given = {name: answer(asked, name, class_id) for name, class_id in classes.items()}
    assert needed(given, asked, PEOPLE) == wanted


@pytest.mark.parametrize("kind", ["proportions", "coarse"])
def test_nobody_is_brought_in_about_a_whole_image(kind: str):
    whole = question(0, kind=kind)
    made = standing(whole)
    made.feed([answer(whole, "anna", 255), answer(whole, "import:a.json", None, value="[]")])
    assert not made.lacks(whole)
    assert made.complete(1.0)


def test_a_share_is_reached_on_every_page():
    pixels = [question(row) for row in range(4)]
    whole = [question(row, str(row), "proportions") for row in range(4, 6)]
    made = standing(*pixels, *whole)
    made.feed([answer(asked, "anna") for asked in pixels])
    assert not made.complete(0.5)
    made.feed([answer(whole[0], "anna", None, value="[1.0]")])
    assert made.complete(0.5)
    assert not made.complete(0.51)
    assert not made.complete(1.0)


@pytest.mark.parametrize(("share", "asked", "enough"), [(0.55, 100, 55), (0.07, 100, 7), (0.14, 50, 7), (0.5, 3, 2)])
def test_a_share_of_the_questions_is_not_one_more_by_rounding(share: float, asked: int, enough: int):
    questions = [question(row) for row in range(asked)]
    made = standing(*questions)
    made.feed([answer(one, "anna") for one in questions[: enough - 1]])
    assert not made.complete(share)
    assert made.progress("anna", share, now=NOW + 1)["pixel"]["needed"] == enough
    made.feed([answer(questions[enough - 1], "anna")])
    assert made.complete(share)
    assert made.progress("anna", share, now=NOW + 1)["pixel"]["seconds_left"] == 0


def test_progress_is_told_by_page_for_all_and_for_one():
    one, two, three = question(0), question(1), question(2, copies=2)
    whole = question(3, kind="coarse")
    made = standing(one, two, three, whole)
    made.feed(
        [
            answer(one, "anna", seconds=2.0),
            answer(two, "anna", seconds=9.0),
            answer(three, "anna", seconds=4.0),
            answer(three, "ben", seconds=50.0),
        ]
    )
    made.feed([answer(two, "anna", None)])
    pixel = {"asked": 4, "answered": 3, "needed": 2, "mine": 2, "median_seconds": 3.0, "seconds_left": 0.0}
    coarse = {"asked": 1, "answered": 0, "needed": 1, "mine": 0, "median_seconds": None, "seconds_left": None}
    assert made.progress("anna", 0.5, now=NOW + 1) == {"pixel": pixel, "coarse": coarse}


def test_answers_whose_time_is_not_known_are_counted_without_it():
    one, two = question(0), question(1)
    made = standing(one, two)
    made.feed([answer(one, "anna", seconds=None)])
    assert made.progress("anna", 1.0, now=NOW)["pixel"]["median_seconds"] is None
    made.feed([answer(two, "anna", seconds=3.0)])
    pixel = made.progress("anna", 1.0, now=NOW)["pixel"]
    assert (pixel["mine"], pixel["median_seconds"]) == (2, 3.0)


def test_more_answers_than_were_asked_for_are_not_more_than_all():
    asked = question(0)
    made = standing(asked, question(1))
    made.feed([answer(asked, "anna"), answer(asked, "import:a.csv"), answer(asked, "import:b.csv")])
    assert made.progress("anna", 1.0, now=NOW)["pixel"]["answered"] == 1


@pytest.mark.parametrize(
    ("ago", "left"),
    [
        ([], None),
        ([100, 50], None),  # too few to tell
        ([100, 50, 10], 7 * 100 / 3),
        ([999, 301, 100, 50, 10], 5 * 100 / 3),  # what was long ago tells nothing of the pace
        ([999, 301, 100, 50], None),
        ([0, 0, 0], None),
        ([60] * 10, 0.0),
    ],
)
def test_the_rest_takes_as_long_as_the_pace_of_the_last_minutes_tells(ago: Sequence[float], left: float | None):
    tally = Tally(asked=10, answered=len(ago))
    for row, seconds in enumerate(ago):
        tally.count(answer(question(row), "anna", at=NOW - seconds))
    assert tally.left(1.0, now=NOW) == (None if left is None else pytest.approx(left))


def test_what_is_taken_back_sets_no_pace():
    tally = Tally(asked=10)
    for class_id in (0, 1, None):
        tally.count(answer(question(0), "anna", class_id, at=NOW - 10))
    assert tally.left(1.0, now=NOW) is None
    assert tally.seconds["anna"] == {}
