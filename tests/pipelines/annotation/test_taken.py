"""What shapes come to as answers of a run, and which are refused."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import annotation_site
import pytest

from pipelines.annotation.answers import Answer, Place
from pipelines.annotation.asked import Question
from pipelines.annotation.desk import Desk
from pipelines.annotation.formats import Shape
from pipelines.annotation.taken import Names, Taken, pixel
from pipelines.drawn import View
from weakseg.schema import VOID
from weakseg.supervision import Polygon, decode_polygons

TRIANGLE = ((0.0, 0.0), (64.0, 0.0), (64.0, 48.0))
KINDS = ("pixel", "proportions", "coarse")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Of a run with eight training images and two that are held out, of 48 x 64 pixels."""
    made = annotation_site.site(
        tmp_path_factory.mktemp("site"),
        images=10,
        kinds=KINDS,
        masks=False,
        overrides=["labelling.holdout_points=2", "labelling.rounds=1"],
    )
    opened = made.desk()
    yield opened
    opened.answers.close()


@pytest.fixture(scope="module")
def pixels_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Of a run that reads pixels alone, one of whose classes is called void."""
    opened = annotation_site.site(tmp_path_factory.mktemp("site"), images=1, classes=("void", "water")).desk()
    yield opened
    opened.answers.close()


def asked(desk: Desk, kind: str = "pixel", purpose: str = "train") -> Question:
    return next(q for q in desk.rounds[0].questions if (q.place[1], q.purpose) == (kind, purpose))


def images(desk: Desk, split: str = "train") -> list[str]:
    return desk.ledger.pool.index(split).image_ids.to_pylist()


def point(image: str, y: int, x: int, label: str = "water", **fields: Any) -> Shape:
    return Shape("entry", image, label, point=(x + 0.5, y + 0.5), asked=True, **fields)


def area(image: str, label: str = "water", *rings: tuple[tuple[float, float], ...], **fields: Any) -> Shape:
    return Shape("entry", image, label, areas=(rings or (TRIANGLE,),), **fields)


def rows(desk: Desk, *shapes: Shape) -> list[Answer]:
    taken = Taken(desk, "a.csv")
    for shape in shapes:
        taken.add(shape)
    assert taken.faults == []
    return taken.rows()


def fault(desk: Desk, shape: Shape) -> str:
    taken = Taken(desk, "a.csv")
    taken.add(shape)
    assert taken.rows() == []
    (found,) = taken.faults
    return found


def new(image: str, y: int, x: int) -> Place:
    return 0, "pixel", image, y, x, -1


def test_a_point_answers_the_question_that_asked_for_it(desk: Desk):
    question = asked(desk)
    (row,) = rows(desk, point(*question.place[2:5], seconds=2.5))
    assert row == Answer(*question.place, "import:a.csv", 1, None, 2.5)


def test_a_held_out_image_is_answered_where_it_is_asked_and_nowhere_else(desk: Desk):
    question = asked(desk, purpose="holdout")
    (row,) = rows(desk, point(*question.place[2:5]))
    assert row.place == question.place
    image_id, y = question.place[2:4]
    unasked = next(n for n in range(64) if (image_id, y, n) not in {q.place[2:5] for q in desk.rounds[0].questions})
    assert fault(desk, point(image_id, y, unasked)) == (
        f"entry: {image_id} is not asked there, and no training image: nothing may learn from it"
    )


def test_a_point_that_nobody_asked_for_is_a_label_of_the_newest_round(desk: Desk):
    image_id = images(desk)[0]
    assert [row.place for row in rows(desk, point(image_id, 47, 63))] == [new(image_id, 47, 63)]
    assert "is not asked there" in fault(desk, point(image_id, 47, 63, segment=5))  # nor is the superpixel


def test_of_two_points_at_one_place_the_later_counts(desk: Desk):
    image_id = images(desk)[0]
    found = rows(desk, point(image_id, 47, 63, "water"), point(image_id, 47, 62), point(image_id, 47, 63, "house"))
    assert [(row.x, row.class_id) for row in found] == [(63, 2), (62, 1)]


def test_who_cannot_tell_says_void_unless_a_class_has_that_name(desk: Desk, pixels_only: Desk):
    assert [row.class_id for row in rows(desk, point(images(desk)[0], 47, 63, "void"))] == [VOID]
    assert [row.class_id for row in rows(pixels_only, point("train/000", 47, 63, "void"))] == [0]
    assert [row.class_id for row in rows(pixels_only, point("train/000", 47, 63, "(void)"))] == [VOID]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (point("train/000", 1, 2, "sky"), "unknown class 'sky'; known: meadow, water, house"),
        (Shape("entry", "train/000", None, point=(1.0, 1.0)), "unknown class None"),
        (point("train/999", 1, 2), "no image 'train/999' among the 10 of the data set"),
        (point("train/000", 48, 2), "the point (2.5, 48.5) lies outside the image"),
        (point("train/000", -1, 2), "lies outside the image"),
        (area("train/999"), "no image 'train/999'"),
        (area("train/000", "sky"), "unknown class 'sky'"),
        (Shape("entry", "train/999", None, kind="coarse", drawn=()), "no image 'train/999'"),
    ],
)
def test_what_is_not_there_is_named_with_its_entry(desk: Desk, shape: Shape, words: str):
    found = fault(desk, shape)
    assert found.startswith("entry: ")
    assert words in found


def test_areas_of_an_image_are_one_answer_of_all_their_seconds(desk: Desk):
    one, two = images(desk)[:2]
    hole = ((40.0, 4.0), (50.0, 4.0), (50.0, 8.0))
    shapes = [area(one, "house", TRIANGLE, hole, seconds=2.0), area(two), area(one, "meadow", seconds=3.0)]
    first, second = rows(desk, *shapes)
    assert first.place == (0, "coarse", one, -1, -1, -1)
    assert decode_polygons(first.value or "") == (Polygon(2, TRIANGLE, (hole,)), Polygon(0, TRIANGLE))
    assert (first.class_id, first.seconds, second.image_id) == (None, 5.0, two)


def test_areas_of_a_resized_file_are_those_of_the_image(desk: Desk):
    (row,) = rows(desk, area(images(desk)[0], "water", ((0, 0), (128, 0), (128, 480)), size=(480, 128)))
    assert decode_polygons(row.value or "")[0].points == TRIANGLE


@pytest.mark.parametrize(
    ("ring", "kept"),
    [
        (((-0.4, 0), (64.5, 0), (64.5, 24), (-0.4, 24)), [(0, 24), (0, 0), (64, 0), (64, 24)]),
        (((0, 0), (64 + 1e-14, 0), (64, 48 + 7e-15)), [(0, 0), (64, 0), (64, 48)]),
        (((32, 24), (96, 24), (96, 72), (32, 72)), [(64, 24), (64, 48), (32, 48), (32, 24)]),
        (TRIANGLE, list(TRIANGLE)),
    ],
)
def test_areas_end_where_the_image_does(desk: Desk, ring: Any, kept: list[tuple[float, float]]):
    (row,) = rows(desk, area(images(desk)[0], "water", ring))
    (polygon,) = decode_polygons(row.value or "")
    assert {(round(x, 9), round(y, 9)) for x, y in polygon.points} == set(kept)
    assert all(0 <= x <= 64 and 0 <= y <= 48 for x, y in polygon.points)


def test_holes_beyond_the_image_are_none(desk: Desk):
    beyond, across = ((70, 1), (80, 1), (80, 9)), ((60, 1), (68, 1), (68, 9), (60, 9))
    (row,) = rows(desk, area(images(desk)[0], "water", TRIANGLE, beyond, across))
    (polygon,) = decode_polygons(row.value or "")
    assert [sorted(set(hole)) for hole in polygon.holes] == [[(60, 1), (60, 9), (64, 1), (64, 9)]]


def test_an_area_beyond_the_image_is_named(desk: Desk):
    beyond = ((64, 1), (80, 1), (80, 9), (64, 9))
    assert fault(desk, area(images(desk)[0], "water", beyond)) == (
        "entry: the area lies outside the image of 64 x 48 pixels"
    )


def test_areas_that_cannot_be_told_are_left_out(desk: Desk):
    assert rows(desk, area(images(desk)[0], "void", seconds=9.0)) == []


def test_areas_need_a_run_that_reads_them_and_a_training_image(desk: Desk, pixels_only: Desk):
    assert fault(pixels_only, area("train/000")) == (
        "entry: areas are coarse labels, which this run does not read: start one with --set supervision.coarse=people"
    )
    held = images(desk, "holdout")[0]
    assert fault(desk, area(held)) == f"entry: {held} is no whole training image"


def whole(kind: str, image: str, **fields: Any) -> Shape:
    return Shape("entry", image, None, kind=kind, asked=True, **fields)


@pytest.mark.parametrize(
    ("shares", "stored"),
    [
        ({"house": 0.25, "meadow": 0.5, "water": 0.25}, "[0.5,0.25,0.25]"),
        ({"meadow": 0.1, "water": 0.2, "house": 0.7000000000000001}, "[0.1,0.2,0.7000000000000001]"),
        ({"meadow": 0.505, "water": 0.0, "house": 0.5}, f"[{0.505 / 1.005},0.0,{0.5 / 1.005}]"),
    ],
)
def test_shares_come_in_the_order_of_the_classes_with_a_sum_of_1(desk: Desk, shares: dict[str, float], stored: str):
    image_id = images(desk)[0]
    (row,) = rows(desk, whole("proportions", image_id, shares=shares, seconds=4.0))
    assert row == Answer(0, "proportions", image_id, -1, -1, -1, "import:a.csv", None, stored, 4.0)


@pytest.mark.parametrize("kind", ["proportions", "coarse"])
def test_of_a_whole_image_it_can_be_said_that_nobody_can_tell(desk: Desk, kind: str):
    (row,) = rows(desk, whole(kind, images(desk)[0]))
    assert (row.kind, row.class_id, row.value) == (kind, VOID, None)


def test_drawn_polygons_are_taken_as_they_are(desk: Desk):
    drawn = (("entry[0]", "house", (TRIANGLE,)), ("entry[1]", "water", (TRIANGLE, TRIANGLE)))
    (row,) = rows(desk, whole("coarse", images(desk)[0], drawn=drawn))
    assert decode_polygons(row.value or "") == (Polygon(2, TRIANGLE), Polygon(1, TRIANGLE, (TRIANGLE,)))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (
            whole("proportions", "", shares={"meadow": 1.0}),
            "entry: expected a share of each of meadow, water, house, got meadow",
        ),
        (
            whole("proportions", "", shares={"meadow": 1.5, "water": 0.0, "house": -0.5}),
            "entry: expected shares from 0 that sum to 1, got a sum of 1",
        ),
        (
            whole("proportions", "", shares={"meadow": 0.5, "water": 0.2, "house": 0.2}),
            "entry: expected shares from 0 that sum to 1, got a sum of 0.9",
        ),
        (
            whole("coarse", "", drawn=(("here", "sky", (TRIANGLE,)),)),
            "here: unknown class 'sky'; known: meadow, water, house",
        ),
        (
            whole("coarse", "", drawn=(("here", "water", (TRIANGLE, ((0.0, 0.0), (9.0, 9.0), (0.0, 48.5)))),)),
            "here: a point lies outside the image of 64 x 48 pixels",
        ),
    ],
)
def test_faulty_answers_about_whole_images_are_refused(desk: Desk, shape: Shape, words: str):
    assert fault(desk, replace(shape, image=images(desk)[0])) == words


def test_whole_images_need_a_run_that_asks_for_them_and_a_training_image(desk: Desk, pixels_only: Desk):
    assert fault(pixels_only, whole("proportions", "train/000")) == (
        "entry: proportions, which this run does not read: start one with --set supervision.proportions=people"
    )
    held = images(desk, "holdout")[0]
    assert fault(desk, whole("coarse", held)) == f"entry: {held} is no whole training image"


def test_every_fault_is_kept_beside_what_is_right(desk: Desk):
    taken, image_id = Taken(desk, "a.csv"), images(desk)[0]
    for shape in (point("x", 1, 2), point(image_id, 47, 63), point(image_id, 99, 2)):
        taken.add(shape)
    assert len(taken.faults) == 2
    assert [row.place for row in taken.rows()] == [new(image_id, 47, 63)]


def test_our_own_files_say_whose_answer_it_was(desk: Desk):
    image_id = images(desk)[0]
    who = {"annotator": "anna"}, {"annotator": "ben"}, {}
    found = rows(desk, *(point(image_id, 47, 63, **fields) for fields in who))
    assert [(row.place, row.annotator) for row in found] == [
        (new(image_id, 47, 63), name) for name in ("anna", "ben", "import:a.csv")
    ]


def test_an_image_that_could_be_two_is_unknown():
    names = Names(["a/1", "b/1", "b/2"], ["a/1", "b/1", "b/2"])
    assert names.find("/somewhere/b/1.png") == ["b/1"]
    assert names.find("1.png") == []
    assert names.find("2.png") == ["b/2"]
    assert names.find("/data/local-files/?d=x/a/1.jpg") == ["a/1"]


@pytest.mark.parametrize(
    "name",
    [
        "b/2",
        "2",
        "b/2.jpeg",
        "C:\\images\\b\\2.png",
        "/data/local-files/?d=x\\b\\2.png",
        "./b/2",
        "2.tar",
        "upload/7/0123abcd-2.png",
        "0123abcd-2",
    ],
)
def test_an_image_is_found_by_what_tools_make_of_its_name(name: str):
    assert Names(["a/1", "b/2"], ["a/1", "b/2"]).find(name) == ["b/2"]


@pytest.mark.parametrize("name", ["", "/", "b", "b/", "2/b", "22", "0123ABCD-2", "01234567-89abcdef-2", "2.png/3"])
def test_a_name_of_no_image_is_unknown(name: str):
    assert Names(["a/1", "b/2"], ["a/1", "b/2"]).find(name) == []


def test_a_dot_may_be_part_of_the_name():
    names = Names(["a/1.5", "a/1"], ["a/1.5", "a/1"])
    assert names.find("1.5.png") == names.find("a/1.5") == ["a/1.5"]
    assert names.find("a/1.png") == ["a/1"]


def test_a_file_of_the_data_set_is_its_image_whatever_else_ends_so():
    ids, files = ["a/1", "b/a/1"], ["images/a/1.png", "images/b/a/1.png"]
    assert Names(ids, ids).find("images/a/1.png") == []
    assert [Names(ids, ids, files).find(name) for name in files] == [["a/1"], ["b/a/1"]]


def test_an_image_that_was_cut_is_all_its_windows_and_each_by_itself():
    names = Names(["a@0_0", "a@0_9", "b@0_0"], ["a", "a", "b"])
    assert names.find("folder/a.png") == names.find("a") == ["a@0_0", "a@0_9"]
    assert names.find("a@0_9") == ["a@0_9"]


def test_resized_images_are_met_where_the_file_was_marked():
    view = View("a", (48, 64), (0, 0), (96, 128), "train")
    shape = Shape("", "a", "x", point=(65.0, 25.0))
    assert pixel(shape, view, tiled=False) == (12, 32)
    tile = View("a", (48, 64), (48, 64), (96, 128), "train")
    assert pixel(shape, tile, tiled=True) is None
    assert pixel(Shape("", "a", "x", point=(65.0, 49.0)), tile, tiled=True) == (1, 1)


def test_a_file_of_another_size_than_the_data_sets_is_met_too():
    view = View("a", (48, 64), (0, 0), (96, 128), "train")
    assert pixel(Shape("", "a", "x", point=(20.0, 10.0), size=(32, 32)), view, tiled=False) == (15, 40)
    tile = View("a", (48, 64), (48, 64), (96, 128), "train")
    assert pixel(Shape("", "a", "x", point=(20.0, 20.0), size=(32, 32)), tile, tiled=True) == (12, 16)


@pytest.mark.parametrize(("x", "y"), [(64.0, 3.0), (3.0, 48.0), (-0.1, 3.0), (3.0, -0.1)])
def test_a_point_on_the_far_edge_or_beyond_lies_outside(x: float, y: float):
    view = View("a", (48, 64), (0, 0), (48, 64), "train")
    assert pixel(Shape("", "a", "x", point=(x, y)), view, tiled=False) is None
    assert pixel(Shape("", "a", "x", point=(63.9, 47.9)), view, tiled=False) == (47, 63)


def test_a_point_of_our_own_files_is_a_pixel_of_the_image_whatever_it_was_cut_from():
    tile = View("a", (48, 64), (48, 64), (96, 128), "train")
    assert pixel(Shape("", "a", "x", point=(1.5, 2.5), asked=True), tile, tiled=True) == (2, 1)
