import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from weakseg.datasets import Classes
from weakseg.errors import DataError
from weakseg.schema import COARSE
from weakseg.supervision import Polygon, decode_polygons, rasterise, read_polygons

CLASSES = Classes(("road", "sky"), ((1, 1, 1), (2, 2, 2)))
TRIANGLE = [[0, 0], [4, 0], [0, 2.5]]
IDS = ["a", "b", "c"]


def _image(image_id: Any = "a", *, points: Any = TRIANGLE, name: Any = "road", **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "polygons": [{"class": name, "points": points}]} | more


def _read(tmp_path: Path, content: Any, **options: Any):
    path = tmp_path / "drawn.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_polygons(path, classes=CLASSES, image_ids=IDS, **options)


def _faults(tmp_path: Path, *images: Any, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, {"images": list(images)}, **options)
    return [line.removeprefix("drawn.json: ") for line in str(caught.value).splitlines()]


def test_reads_what_there_is(tmp_path: Path) -> None:
    square = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
    full = {
        "image_id": "b",
        "annotator": "anna",
        "seconds": 35.5,
        "labelled_at": "2026-03-01T10:30:00+01:00",
        "polygons": [
            {"class": "sky", "points": square, "holes": [[[1, 1], [2, 1], [2, 2]]]},
            {"class": "road", "points": TRIANGLE, "holes": None},
        ],
    }
    table = _read(tmp_path, {"images": [full, _image("a"), {"image_id": "c", "polygons": [], "seconds": None}]})
    assert table.schema == COARSE
    assert table["image_id"].to_pylist() == ["b", "a", "c"]
    assert table["annotator"].to_pylist() == ["anna", "import:drawn.json", "import:drawn.json"]
    assert table["seconds"].to_pylist() == [35.5, None, None]
    assert table["labelled_at"].to_pylist() == [datetime(2026, 3, 1, 9, 30, tzinfo=UTC), None, None]
    first, second, third = map(decode_polygons, table["polygons"].to_pylist())
    triangle = Polygon(0, ((0.0, 0.0), (4.0, 0.0), (0.0, 2.5)))
    assert first == (Polygon(1, tuple(map(tuple, square[:4])), (((1, 1), (2, 1), (2, 2)),)), triangle)
    assert second == (triangle,)
    assert third == ()
    mask = rasterise(first, (4, 4), original_size=(4, 4))
    assert sorted(set(mask.ravel().tolist())) == [0, 1]


def test_rows_are_named_by_their_image_alone(tmp_path: Path) -> None:
    one = _read(tmp_path, {"images": [_image("a"), _image("b")]}).to_pylist()
    other = _read(tmp_path, "\ufeff" + json.dumps({"images": [_image("b", seconds=3)]})).to_pylist()
    assert one[1]["answer_id"] == other[0]["answer_id"] != one[0]["answer_id"]
    assert [(row["round"], row["supersedes"]) for row in one] == [(0, None)] * 2


def test_takes_the_ids_of_a_table_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps({"images": [_image("b")]}))
    for ids in (pa.array(IDS), pa.chunked_array([IDS[:1], IDS[1:]]), set(IDS), dict.fromkeys(IDS)):
        assert read_polygons(str(path), classes=CLASSES, image_ids=ids)["image_id"].to_pylist() == ["b"]


def test_no_image_is_no_row(tmp_path: Path) -> None:
    assert _read(tmp_path, {"images": []}).schema == COARSE


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (_image("z"), 'images[0].image_id: no image "z" among the 3 of the data set'),
        (_image(["a"]), 'images[0].image_id: no image ["a"]'),
        (_image(name="Road"), 'images[0].polygons[0].class: unknown class "Road"; known: road, sky'),
        (_image(name=None), "images[0].polygons[0].class: unknown class null"),
        (_image(points=[[0, 0], [1, 1], [0, 0]]), "polygons[0].points: expected at least 3 different points, got 2"),
        (_image(points=[]), "at least 3 different points, got 0"),
        (_image(points=7), "polygons[0].points: expected a list, got 7"),
        (_image(points=[*TRIANGLE, [1]]), "points[3]: expected [x, y] in pixels, got [1]"),
        (_image(points=[*TRIANGLE, [1, "2"]]), 'points[3]: expected [x, y] in pixels, got [1, "2"]'),
        (_image(points=[*TRIANGLE, [1, True]]), "points[3]: expected [x, y]"),
        (_image(points=[*TRIANGLE, [1, float("nan")]]), "points[3]: expected [x, y]"),
        (_image(points=[*TRIANGLE, [10**400, 1]]), "points[3]: expected [x, y]"),
        (_image(seconds=-1), "images[0].seconds: expected a number of seconds >= 0, got -1"),
        (_image(seconds="35"), "images[0].seconds: expected a number"),
        (_image(annotator=""), 'images[0].annotator: expected a name, got ""'),
        (_image(labelled_at="2026-03-01T10:30:00"), "images[0].labelled_at: expected a time such as"),
        (_image(labelled_at=3), "images[0].labelled_at: expected a time such as"),
        (_image(size=[3, 3]), "images[0]: unknown field 'size'; known: annotator, image_id, labelled_at, polygons"),
        ({"image_id": "a"}, "images[0]: no field 'polygons'"),
        ("a", 'images[0]: expected an object with image_id, polygons, got "a"'),
        ({"image_id": "a", "polygons": {}}, "images[0].polygons: expected a list, got {}"),
        ({"image_id": "a", "polygons": [{"label": "sky", "points": TRIANGLE}]}, "polygons[0]: no field 'class'"),
        ({"image_id": "a", "polygons": [_image() | {"holes": 3}]}, "unknown field 'image_id'"),
    ],
)
def test_each_fault_is_named_with_its_place(tmp_path: Path, image: Any, fault: str) -> None:
    assert any(fault in line for line in _faults(tmp_path, image)), _faults(tmp_path, image)


def test_holes_are_checked_as_outlines_are(tmp_path: Path) -> None:
    polygon = {"class": "sky", "points": TRIANGLE, "holes": [TRIANGLE, [[0, 0], [1, 1]]]}
    assert _faults(tmp_path, {"image_id": "a", "polygons": [polygon]}) == [
        "images[0].polygons[0].holes[1]: expected at least 3 different points, got 2"
    ]


def test_points_outside_are_found_where_the_size_is_known(tmp_path: Path) -> None:
    images = [_image("a"), _image("b")]
    assert _read(tmp_path, {"images": images}, sizes={"a": (3, 4)}).num_rows == 2
    assert _faults(tmp_path, *images, sizes={"a": (3, 3), "b": (2, 4)}) == [
        "images[0].polygons[0].points[1]: [4, 0] lies outside the image of width 3 and height 3",
        "images[1].polygons[0].points[2]: [0, 2.5] lies outside the image of width 4 and height 2",
    ]


def test_an_image_given_twice(tmp_path: Path) -> None:
    assert _faults(tmp_path, _image("a"), _image("b"), _image("a")) == [
        "images[2].image_id: 'a' is already at images[0]: join their polygons"
    ]


def test_all_faults_come_at_once_but_not_thousands(tmp_path: Path) -> None:
    bad = _image("z", name="grass", points=[[0, 0]], seconds=-1, labelled_at="now")
    assert len(_faults(tmp_path, bad)) == 5
    lines = _faults(tmp_path, *[bad] * 10)
    assert len(lines) == 11
    assert lines[-1] == "and 40 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", r"expected an object with images, got \[\]"),
        ('{"image": []}', "unknown field 'image'; known: images\n.*no field 'images'"),
        ('{"images": 3}', "images: expected a list, got 3"),
        ('{"images": [], "images": []}', "field 'images' twice"),
        ("[" * 100000, "cannot be read as JSON"),
    ],
)
def test_refuses_other_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"drawn\.json.*{message}"):
        _read(tmp_path, text)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no drawn\.json \(looked for .*\): write one, such as \{"):
        read_polygons(tmp_path / "drawn.json", classes=CLASSES, image_ids=IDS)
