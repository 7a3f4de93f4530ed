"""Questions and answers out into files, and answers in from our own and other tools' files."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import annotation_site
import numpy as np
import pytest

from pipelines.annotation import exchange, messages, taken
from pipelines.annotation.desk import Desk, Entry
from pipelines.annotation.formats import Shape, read
from pipelines.annotation.formats.coco import packed
from pipelines.annotation.formats.shapes import Entry as Value
from pipelines.annotation.formats.shapes import outlines
from pipelines.annotation.views import answer_view
from pipelines.console import Console
from pipelines.drawn import View
from pipelines.measure import measure
from pipelines.status import status
from weakseg.errors import DataError
from weakseg.supervision import Polygon, decode_polygons, rasterise

SIZE = annotation_site.SIZE


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return annotation_site.site(tmp_path, images=2).desk()


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def points(path: Path) -> list[tuple[str, str | None, tuple[float, float] | None]]:
    return [(shape.image, shape.label, shape.point) for shape in read(path)]


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.via.json"])
def test_questions_go_out_and_come_back_answered(desk: Desk, tmp_path: Path, name: str):
    path = tmp_path / name
    assert exchange.export_file(desk, path) == 6
    assert exchange.import_file(desk, path) == 0
    if name == "out.csv":
        rows = list(csv.DictReader(path.open()))
        rows = [row | {"class": "water"} for row in rows[:5]] + [rows[5] | {"class": "void"}]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        content = json.loads(path.read_text())
        regions = (
            [
                region["region_attributes"]
                for image in content["_via_img_metadata"].values()
                for region in image["regions"]
            ]
            if "via" in name
            else content["questions"]
        )
        for number, row in enumerate(regions):
            row["class"] = "void" if number == 5 else "water"
        path.write_text(json.dumps(content))
    assert exchange.import_file(desk, path) == 6
    assert exchange.import_file(desk, path) == 0  # the same again is nothing new
    desk.refresh(now=True)
    standing = desk.rounds[0]
    assert standing.complete(1.0)
    given = [standing.given(question)[f"import:{name}"].class_id for question in standing.questions]
    assert sorted(given) == [1, 1, 1, 1, 1, 255]
    again = tmp_path / "again.csv"
    exchange.export_file(desk, again)
    assert {row["annotator"] for row in csv.DictReader(again.open())} == {f"import:{name}"}


def test_a_project_for_via_names_files_and_classes(desk: Desk, tmp_path: Path):
    exchange.export_file(desk, tmp_path / "a.via.json")
    project = json.loads((tmp_path / "a.via.json").read_text())
    assert [image["filename"] for image in project["_via_img_metadata"].values()] == ["000.png", "001.png"]
    assert project["_via_image_id_list"] == list(project["_via_img_metadata"])
    assert list(project["_via_attributes"]["region"]["class"]["options"]) == [*annotation_site.CLASSES, "void"]
    region = project["_via_img_metadata"]["000.png-1"]["regions"][0]
    y, x = desk.rounds[0].questions[0].place[3:5]
    assert region["shape_attributes"] == {"name": "point", "cx": x, "cy": y}


def test_images_of_one_file_name_are_two_for_via(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_data = annotation_site.write_data

    def with_a_twin(folder: Path, **options: Any) -> None:
        write_data(folder, **options)
        for kind in ("images", "masks"):
            (folder / kind / "train" / "b").mkdir()
            shutil.copy(folder / kind / "train" / "000.png", folder / kind / "train" / "b")

    monkeypatch.setattr(annotation_site, "write_data", with_a_twin)
    desk = annotation_site.site(tmp_path, images=2).desk()
    path = tmp_path / "a.via.json"
    assert exchange.export_file(desk, path) == 9
    project = json.loads(path.read_text())
    files = {key: image["filename"] for key, image in project["_via_img_metadata"].items()}
    assert sorted(files.values()) == ["001.png", "images/train/000.png", "images/train/b/000.png"]
    assert list(files) == project["_via_image_id_list"] == [f"{name}-1" for name in files.values()]
    for image in project["_via_img_metadata"].values():
        for region in image["regions"]:
            region["region_attributes"]["class"] = "water"
    assert exchange.import_file(desk, written(path, project)) == 9
    desk.refresh(now=True)
    assert desk.rounds[0].complete(1.0)


@pytest.mark.parametrize("name", ["a.via.json", "a.csv", "a.xml"])
def test_regions_are_answered_at_the_pixel_that_points_at_them(tmp_path: Path, name: str):
    desk = annotation_site.site(tmp_path, images=2, kind="region").desk()
    path, asked = tmp_path / name, desk.rounds[0].questions
    if name == "a.via.json":
        exchange.export_file(desk, path)
        path.write_text(path.read_text().replace('"class": ""', '"class": "water"'))
    elif name == "a.csv":
        rows = [f"{image_id},{y},{x},water" for _, _, image_id, y, x, _ in (question.place for question in asked)]
        path.write_text("\n".join(["image_id,y,x,class", *rows]))
    else:
        marks = [f'<points label="water" points="{question.place[4]}.5,{question.place[3]}.5"/>' for question in asked]
        size = 'width="64" height="48"'
        images = [f'<image name="00{n}.png" {size}>{"".join(marks[3 * n : 3 * n + 3])}</image>' for n in range(2)]
        path.write_text(f"<annotations>{''.join(images)}</annotations>")
    assert exchange.import_file(desk, path) == 6
    assert {row.place for row in desk.answers.since()} == {question.place for question in asked}
    desk.refresh(now=True)
    assert desk.rounds[0].complete(1.0)


def test_a_corrected_file_corrects(desk: Desk, tmp_path: Path):
    y, x = desk.rounds[0].questions[0].place[3:5]
    path = tmp_path / "a.csv"
    for label in ("water", "house"):
        path.write_text(f"image_id,y,x,class\ntrain/000,{y},{x},{label}\n")
        assert exchange.import_file(desk, path) == 1
    desk.refresh(now=True)
    assert desk.rounds[0].given(desk.rounds[0].questions[0])["import:a.csv"].class_id == 2


def test_points_that_nobody_asked_for_are_labels_too(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=2)
    desk = site.desk()
    path = written(tmp_path / "a.csv", "image_id,y,x,class\ntrain/001,1,2,house\n")
    assert exchange.import_file(desk, path) == 1
    desk.answers.close()
    (row,) = site.close(0).to_pylist()
    assert (row["image_id"], row["y"], row["x"], row["class_id"], row["annotator"]) == (
        "train/001",
        1,
        2,
        2,
        "import:a.csv",
    )


def label_studio(kind: str, value: dict[str, Any], **task: Any) -> list[dict[str, Any]]:
    result = {"type": kind, "original_width": 64, "original_height": 48, "value": value}
    annotation = {"result": [result], "lead_time": 3.0}
    return [{"data": {"image": "/data/upload/1/0123abcd-000.png"}, "annotations": [annotation | task]}]


def coco(annotation: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "train/000.png", "height": 48, "width": 64}],
        "categories": [{"id": 3, "name": "water"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3} | annotation],
    }


def cvat(shape: str) -> str:
    return f'<annotations><image id="0" name="000.png" width="64" height="48">{shape}</image></annotations>'


def datumaro(annotation: dict[str, Any]) -> dict[str, Any]:
    return {
        "categories": {"label": {"labels": [{"name": "meadow"}, {"name": "water"}]}},
        "items": [{"id": "000", "image": {"size": [48, 64]}, "annotations": [{"label_id": 1} | annotation]}],
    }


def resized(content: Any, height: int, width: int) -> Any:
    """A file that says another size of its images."""
    text = content if isinstance(content, str) else json.dumps(content)
    for before, after in (("48", str(height)), ("64", str(width))):
        for field in (
            '"height": {}',
            '"width": {}',
            'height="{}"',
            'width="{}"',
            '"original_height": {}',
            '"original_width": {}',
        ):
            text = text.replace(field.format(before), field.format(after))
    return text.replace('"image": {"size": [48, 64]}', f'"image": {{"size": [{height}, {width}]}}')


POINTS = {
    "studio.json": label_studio("keypointlabels", {"x": 50.0, "y": 25.0, "width": 1, "keypointlabels": ["water"]}),
    "coco.json": coco({"keypoints": [32, 12, 2, 0, 0, 0]}),
    "cvat.xml": cvat('<points label="water" points="32.00,12.00"/>'),
    "datumaro.json": datumaro({"type": "points", "points": [32, 12]}),
    "via.json": {
        "000.png1": {
            "filename": "000.png",
            "regions": [
                {"shape_attributes": {"name": "point", "cx": 32, "cy": 12}, "region_attributes": {"class": "water"}}
            ],
        }
    },
}
SQUARE = [[8.0, 8.0], [24.0, 8.0], [24.0, 24.0], [8.0, 24.0]]
FLAT = [value for pair in SQUARE for value in pair]
COLUMN_RUNS = [8 * 48 + 8, *([16, 32] * 15), 16, 64 * 48 - (8 * 48 + 8 + 48 * 15 + 16)]
AREAS = {
    "studio.json": label_studio(
        "polygonlabels", {"points": [[x / 0.64, y / 0.48] for x, y in SQUARE], "polygonlabels": ["water"]}
    ),
    "studio-box.json": label_studio(
        "rectanglelabels",
        {"x": 12.5, "y": 100 / 6, "width": 25.0, "height": 100 / 3, "rotation": 0, "rectanglelabels": ["water"]},
    ),
    "coco.json": coco({"segmentation": [FLAT]}),
    "coco-parts.json": coco({"segmentation": [[8, 8, 16, 8, 16, 24, 8, 24], [16, 8, 24, 8, 24, 24, 16, 24]]}),
    "coco-mask.json": coco({"segmentation": {"size": [48, 64], "counts": COLUMN_RUNS}}),
    "cvat.xml": cvat(f'<polygon label="water" points="{";".join(f"{x},{y}" for x, y in SQUARE)}"/>'),
    "cvat-box.xml": cvat('<box label="water" xtl="8" ytl="8" xbr="24" ybr="24"/>'),
    "cvat-mask.xml": cvat('<mask label="water" rle="0, 256" left="8" top="8" width="16" height="16"/>'),
    "datumaro.json": datumaro({"type": "polygon", "points": FLAT}),
    "datumaro-box.json": datumaro({"type": "bbox", "bbox": [8, 8, 16, 16]}),
    "datumaro-mask.json": datumaro({"type": "mask", "rle": {"size": [48, 64], "counts": COLUMN_RUNS}}),
    "via.json": {
        "000.png1": {
            "filename": "000.png",
            "regions": [
                {
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_x": [x for x, _ in SQUARE],
                        "all_points_y": [y for _, y in SQUARE],
                    },
                    "region_attributes": {"class": "water"},
                }
            ],
        }
    },
}


@pytest.mark.parametrize("name", POINTS)
def test_points_of_other_tools_become_labels(desk: Desk, tmp_path: Path, name: str):
    assert exchange.import_file(desk, written(tmp_path / name, POINTS[name])) == 1
    (row,) = desk.answers.since()
    assert (row.image_id, row.y, row.x, row.class_id, row.annotator) == ("train/000", 12, 32, 1, f"import:{name}")


@pytest.mark.parametrize("name", AREAS)
def test_areas_of_other_tools_become_coarse_labels(tmp_path: Path, name: str):
    site = annotation_site.site(tmp_path, images=2, kinds=("coarse",))
    desk = site.desk()
    assert exchange.import_file(desk, written(tmp_path / name, AREAS[name])) == 1
    (row,) = desk.answers.since()
    assert row.value is not None
    mask_HW = rasterise(decode_polygons(row.value), SIZE, original_size=SIZE)
    expected_HW = np.full(SIZE, 255, np.uint8)
    expected_HW[8:24, 8:24] = 1
    np.testing.assert_array_equal(mask_HW, expected_HW)


def test_a_brush_mask_of_label_studio(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=2, kinds=("coarse",))
    desk = site.desk()
    alpha_HW = np.zeros(SIZE, np.uint8)
    alpha_HW[3:9, 5:20] = 255
    path = written(
        tmp_path / "brush.json",
        label_studio("brushlabels", {"format": "rle", "rle": _brush(alpha_HW), "brushlabels": ["house"]}),
    )
    assert exchange.import_file(desk, path) == 1
    value = desk.answers.since()[0].value
    assert value is not None
    mask_HW = rasterise(decode_polygons(value), SIZE, original_size=SIZE)
    np.testing.assert_array_equal(mask_HW == 2, alpha_HW == 255)


@pytest.mark.parametrize("name", [name for name in POINTS if name != "via.json"])
def test_a_file_that_does_not_know_the_size_of_its_images_speaks_of_the_data_sets(
    desk: Desk, tmp_path: Path, name: str
):
    path = written(tmp_path / name, resized(POINTS[name], 0, 0))
    assert {shape.size for shape in read(path)} == ({(100, 100)} if name == "studio.json" else {None})
    assert exchange.import_file(desk, path) == 1
    (row,) = desk.answers.since()
    assert (row.y, row.x) == (12, 32)


@pytest.mark.parametrize("name", [name for name in AREAS if name != "via.json"])
def test_so_do_its_areas(tmp_path: Path, name: str):
    desk = annotation_site.site(tmp_path, images=2, kinds=("coarse",)).desk()
    assert exchange.import_file(desk, written(tmp_path / name, resized(AREAS[name], 0, 0))) == 1
    value = desk.answers.since()[0].value
    assert value is not None
    mask_HW = rasterise(decode_polygons(value), SIZE, original_size=SIZE)
    assert np.argwhere(mask_HW == 1).min(0).tolist() == [8, 8]
    assert np.argwhere(mask_HW == 1).max(0).tolist() == [23, 23]


@pytest.mark.parametrize(("height", "width"), [(0, 64), (48, 0), (-48, -64)])
@pytest.mark.parametrize("name", [name for name in POINTS if name != "via.json"])
def test_half_a_size_is_refused(desk: Desk, tmp_path: Path, name: str, height: int, width: int):
    with pytest.raises(DataError, match=f"(height|size|image).*expected.*{height} x {width}"):
        exchange.import_file(desk, written(tmp_path / name, resized(POINTS[name], height, width)))
    assert desk.answers.since() == []


def test_a_brush_mask_needs_the_size_of_its_image(tmp_path: Path):
    desk = annotation_site.site(tmp_path, images=1, kinds=("coarse",)).desk()
    mask = label_studio("brushlabels", {"rle": _brush(np.zeros(SIZE, np.uint8)), "brushlabels": ["house"]})
    with pytest.raises(DataError, match="original_height: expected"):
        exchange.import_file(desk, written(tmp_path / "brush.json", resized(mask, 0, 0)))


def _brush(alpha_HW: np.ndarray) -> list[int]:
    """The stream that Label Studio writes: every value as a run of one."""
    values = np.repeat(alpha_HW.ravel(), 4)
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{width - 1:04b}" for width in (3, 4, 8, 16))
    start = 0
    while start < values.size:
        end = start
        while end < values.size and values[end] == values[start]:
            end += 1
        bits += "1" + "11" + f"{end - start - 1:016b}" + f"{values[start]:08b}"
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


@pytest.mark.parametrize("seed", range(5))
def test_outlines_hold_exactly_the_mask(seed: int):
    mask_HW = np.random.default_rng(seed).random((13, 17)) < 0.5
    polygons = [Polygon(1, first, tuple(holes)) for first, *holes in outlines(mask_HW)]
    painted_HW = rasterise(polygons, (13, 17), original_size=(13, 17))
    np.testing.assert_array_equal(painted_HW == 1, mask_HW)


def _compressed(counts: list[int]) -> str:
    """COCO's own packing, written the slow way."""
    text = ""
    for number, count in enumerate(counts):
        value = count - (counts[number - 2] if number > 2 else 0)
        while True:
            code, value = value & 31, value >> 5
            more = not (value == 0 and not code & 16) and not (value == -1 and code & 16)
            text += chr(48 + code + (32 if more else 0))
            if not more:
                break
    return text


@pytest.mark.parametrize("counts", [[3, 5], [0, 7, 2, 900, 3, 1, 65_000], COLUMN_RUNS])
def test_compressed_run_lengths_of_coco(counts: list[int]):
    assert packed(Value(_compressed(counts), "counts", "a.json")) == counts


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.json", None, ("no.json", "no such file")),
        ("a.json", "{", ("a.json", "cannot be read")),
        ("a.json", {"a": 1}, ("a.json", "not a format that is known")),
        ("a.csv", "x,y\n1,2\n", ("a.csv", "line 1", "image_id")),
        ("a.csv", "image_id,y,x,class\ntrain/000,a,2,water\n", ("a.csv", "line 2", "expected a number")),
        ("a.csv", "image_id,y,x,class\ntrain/000,1,2,sky\n", ("a.csv", "line 2", "unknown class 'sky'")),
        ("a.csv", "image_id,y,x,class\ntrain/999,1,2,water\n", ("a.csv", "line 2", "no image 'train/999'")),
        ("a.csv", "image_id,y,x,class\ntrain/000,99,2,water\n", ("a.csv", "line 2", "outside")),
        ("a.xml", "<annotations>", ("a.xml", "not XML")),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', ("a.xml", "DOCTYPE")),
        ("a.xml", "<other/>", ("a.xml", "<other>")),
        ("a.xml", cvat('<points label="water" points="1;2"/>'), ("a.xml", "image[0] (000.png).points[0]")),
        ("a.xml", cvat('<cuboid label="water"/>'), ("a.xml", "cuboid")),
        ("a.json", coco({"image_id": 8}), ("a.json", "annotations[0].image_id", "no image 8")),
        ("a.json", coco({}), ("a.json", "annotations[0]", "neither")),
        ("a.json", coco({"keypoints": [1, 2]}), ("a.json", "annotations[0].keypoints")),
        (
            "a.json",
            coco({"segmentation": {"size": [48, 64], "counts": [5]}}),
            ("a.json", "segmentation.counts", "runs"),
        ),
        ("a.json", coco({"segmentation": {"size": [48, 64], "counts": "\x01"}}), ("a.json", "character")),
        ("a.json", coco({"segmentation": [[1, 2, 3, 4]]}), ("a.json", "segmentation[0]", "at least 3 points")),
        ("a.json", coco({"segmentation": [FLAT]}), ("a.json", "supervision.coarse=people")),
        ("a.json", datumaro({"type": "caption"}), ("a.json", "items[0].annotations[0].type")),
        ("a.json", label_studio("choices", {"choices": ["a"]}), ("a.json", "[0].annotations[0].result[0].type")),
        ("a.json", label_studio("keypointlabels", {"keypointlabels": []}), ("a.json", "expected one label")),
        (
            "a.json",
            label_studio("brushlabels", {"rle": [0, 0, 0, 9], "brushlabels": ["water"]}),
            ("a.json", "rle", "cut short"),
        ),
    ],
)
def test_a_refusal_names_file_and_entry_and_takes_nothing(
    desk: Desk, tmp_path: Path, name: str, content: Any, words: tuple[str, ...]
):
    path = tmp_path / name
    if content is not None:
        written(path, content)
    with pytest.raises(DataError) as caught:
        exchange.import_file(desk, path)
    for word in words:
        assert word in str(caught.value)
    assert desk.answers.since() == []


HUGE = 10**400
MASK = '<mask label="water" rle="{}" left="{}" top="8" width="{}" height="{}"/>'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xml", cvat('<points label="water" points="nan,1"/>'), "points[0].points[0]: expected a number"),
        ("a.xml", cvat('<points label="water" points="1e400,1"/>'), "points[0].points[0]: expected a number"),
        ("a.xml", cvat('<polygon label="water" points="1,1;inf,1;2,2"/>'), "polygon[0].points[2]: expected a number"),
        ("a.xml", cvat('<box label="water" xtl="-inf" ytl="8" xbr="24" ybr="24"/>'), "box[0].xtl: expected a number"),
        ("a.xml", cvat("").replace("64", "nan"), "image[0] (000.png).width: expected a number"),
        ("a.xml", cvat("").replace("64", "1e999"), "image[0] (000.png).width: expected a number"),
        ("a.xml", cvat("").replace("64", "63.5"), "image[0] (000.png).width: expected a whole number"),
        ("a.xml", cvat(MASK.format("0,256", "inf", 16, 16)), "mask[0].left: expected a number"),
        ("a.xml", cvat(MASK.format("0,256", "8", "nan", 16)), "mask[0].width: expected a number"),
        ("a.xml", cvat(MASK.format("0,256", "8", -16, -16)), "mask[0].rle: expected a mask of 1 x 1"),
        ("a.xml", cvat(MASK.format("0", "8", 0, 16)), "mask[0].rle: expected a mask of 1 x 1"),
        ("a.xml", cvat(MASK.format(2**62, "8", 2**31, 2**31)), "mask[0].rle: expected a mask of 1 x 1"),
        ("a.json", coco({"keypoints": [HUGE, 1, 2]}), "annotations[0].keypoints[0]: expected a number"),
        ("a.json", coco({"category_id": HUGE}), "annotations[0].category_id: expected a number"),
        (
            "a.json",
            coco({"segmentation": {"size": [48], "counts": [5]}}),
            "segmentation.size: expected [height, width]",
        ),
        ("a.json", resized(coco({"keypoints": [1, 1, 2]}), HUGE, HUGE), "images[0].height: expected a number"),
        ("a.json", datumaro({"type": "bbox", "bbox": [1, 2, 3]}), "bbox: expected left, top, width, height, got 3"),
        ("a.json", datumaro({"type": "bbox", "bbox": [1, 2, 3, HUGE]}), "bbox[3]: expected a number"),
        ("a.json", datumaro({"type": "points", "points": [1e300, 1]}), "points[0]: expected a number"),
        (
            "a.json",
            datumaro({"type": "mask", "rle": {"size": [48], "counts": [5]}}),
            "rle.size: expected [height, width]",
        ),
        (
            "a.json",
            datumaro({"type": "mask", "rle": {"size": [0, 64], "counts": []}}),
            "rle.size: expected [height, width]",
        ),
        (
            "a.json",
            label_studio("keypointlabels", {"x": HUGE, "y": 1, "keypointlabels": ["water"]}),
            "value.x: expected a number",
        ),
        (
            "a.json",
            label_studio("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["water"]}, lead_time=HUGE),
            "[0].annotations[0].lead_time: expected a number",
        ),
        (
            "a.json",
            label_studio("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["water"]}, lead_time=float("nan")),
            "[0].annotations[0].lead_time: expected a number",
        ),
        (
            "a.json",
            {"questions": [{"image_id": "train/000", "y": HUGE, "x": 1, "class": "water"}]},
            "questions[0].y: expected a number",
        ),
        ("a.csv", "image_id,y,x,class\ntrain/000,1e999,1,water\n", "line 2.y: expected a number"),
        ("a.csv", "image_id,y,x,class,seconds\ntrain/000,1,1,water,nan\n", "line 2.seconds: expected a number"),
    ],
)
def test_numbers_that_are_none_are_refused_with_their_entry(
    desk: Desk, tmp_path: Path, name: str, content: Any, words: str
):
    with pytest.raises(DataError, match="^a.(json|xml|csv): ") as caught:
        exchange.import_file(desk, written(tmp_path / name, content))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert desk.answers.since() == []


def test_labels_may_be_numbers_with_a_point_and_ids_of_64_bits(desk: Desk, tmp_path: Path):
    assert points(written(tmp_path / "a.json", datumaro({"label_id": 1.0, "type": "points", "points": [32, 12]}))) == [
        ("000", "water", (32.0, 12.0))
    ]
    content = json.loads(json.dumps(POINTS["coco.json"]).replace('_id": 7', f'_id": {2**63 + 1}'))
    content["images"][0]["id"] = 2**63 + 1
    assert points(written(tmp_path / "b.json", content)) == [("train/000.png", "water", (32.0, 12.0))]


def test_seconds_below_none_are_none(desk: Desk, tmp_path: Path):
    marks = {"x": 1, "y": 1, "keypointlabels": ["water"]}
    for lead_time, seconds in ((-5.0, 0.0), (None, None)):
        path = written(tmp_path / "a.json", label_studio("keypointlabels", marks, lead_time=lead_time))
        assert [shape.seconds for shape in read(path)] == [seconds]


def test_answers_without_a_time_cost_what_the_configuration_says(tmp_path: Path):
    kinds, costs = ("pixel", "proportions", "coarse"), ["labelling.seconds.pixel=7", "labelling.seconds.coarse=100"]
    site = annotation_site.site(tmp_path, images=2, kinds=kinds, overrides=[*costs, "labelling.seconds.proportions=30"])
    desk = site.desk()
    ring = [[0, 0], [9, 0], [9, 9]]
    entries = [
        {"image_id": "train/000", "y": 1, "x": 2, "class": "water", "seconds": None},
        {"image_id": "train/000", "y": 1, "x": 3, "class": "water", "seconds": 2.5},
        {"image_id": "train/000", "kind": "proportions", "value": {"meadow": 1, "water": 0, "house": 0}},
        {"image_id": "train/000", "kind": "coarse", "value": [{"class": "water", "points": ring}]},
    ]
    exchange.import_file(desk, written(tmp_path / "a.json", {"questions": entries}))
    exchange.import_file(desk, written(tmp_path / "b.json", coco({"image_id": 7, "segmentation": [FLAT]})))
    exchange.export_file(desk, tmp_path / "a.csv")
    assert {row["seconds"] for row in csv.DictReader((tmp_path / "a.csv").open())} == {""}
    desk.answers.close()
    assert site.close(0)["seconds"].to_pylist() == [None, 2.5]
    with site.held() as ledger:
        metrics = measure(site.config, ledger, 0, [{"loss": 1.0}], console=Console())
    assert metrics["bill"] == {"proportions": 30.0, "coarse": 200.0, "points": 9.5}
    assert status(site.config, Console())["seconds"] == 9.5


def test_one_faulty_entry_refuses_the_whole_file(desk: Desk, tmp_path: Path):
    path = written(tmp_path / "a.csv", "image_id,y,x,class\ntrain/000,1,2,water\ntrain/000,1,3,sky\n")
    with pytest.raises(DataError, match="line 3"):
        exchange.import_file(desk, path)
    assert desk.answers.since() == []


@pytest.mark.parametrize("tiled", [True, False])
def test_a_pixel_of_a_resized_or_cut_image_is_met_again_where_it_was_written(tiled: bool):
    view = View("a", (48, 64), (48, 64) if tiled else (0, 0), (96, 128), "train")
    there = exchange._in_file(32, 12, view, tiled=tiled)
    back = Shape("", "a", "x", point=(there["via_x"], there["via_y"]))
    assert taken.pixel(back, view, tiled=tiled) == (12, 32)


def test_a_file_taken_again_in_a_later_round_is_nothing_new(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=2, overrides=["labelling.answered_share=0.1"])
    desk = site.desk()
    path = written(tmp_path / "a.csv", "image_id,y,x,class\ntrain/001,1,2,house\n")
    assert exchange.import_file(desk, path) == 1
    site.close(0)
    site.ask(1)
    desk.refresh(now=True)
    assert exchange.import_file(desk, path) == 0
    written(path, "image_id,y,x,class\ntrain/001,1,2,water\n")
    assert exchange.import_file(desk, path) == 1
    desk.answers.close()
    (row,) = site.close(1).to_pylist()
    assert (row["class_id"], row["round"]) == (1, 0)
    assert row["supersedes"] is not None


@pytest.mark.parametrize("name", ["out.csv", "out.json"])
def test_answers_about_whole_images_go_out_and_come_in(tmp_path: Path, name: str):
    made = {"images": 3, "kinds": ("proportions", "coarse"), "annotators": ("anna",)}
    desk = annotation_site.site(tmp_path / "one", **made).desk()
    values = {
        "proportions": ["[0.7,0.2,0.1]", None, None],
        "coarse": ['[{"class_id":2,"points":[[0,0],[64,0],[64,24]],"holes":[[[40,4],[50,4],[50,8]]]}]', "[]", None],
    }
    for page, texts in values.items():
        found = desk.work("anna", page, 3)
        assert found is not None
        for image_id, text in zip(found[1], texts, strict=True):
            (question,) = found[0].by_image[page, image_id]
            class_id = 255 if text is None and page == "coarse" else None if image_id == "train/001" or text else 255
            if text is not None or class_id is not None:
                desk.add("anna", [Entry(question, class_id, text, 2.5, "")])
    assert exchange.export_file(desk, tmp_path / name) == 6
    assert exchange.import_file(desk, tmp_path / name) == 0
    other = annotation_site.site(tmp_path / "two", **made).desk()
    assert exchange.import_file(other, tmp_path / name) == 5
    assert exchange.import_file(other, tmp_path / name) == 0

    def said(desk: Desk) -> dict[tuple[str, str], tuple[Any, Any, float]]:
        return {
            (row.kind, row.image_id): (row.class_id, row.value and json.loads(row.value), round(row.seconds, 3))
            for row in desk.answers.since()
        }

    assert said(other) == said(desk)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("proportions", {"meadow": 1.0}, ("questions[0].value", "water")),
        ("proportions", {"meadow": 1.0, "water": 1.0, "house": 0.0}, ("questions[0].value", "sum to 1")),
        ("proportions", [1, 0, 0], ("questions[0].value", "an object")),
        ("coarse", [{"class": "sky", "points": SQUARE}], ("questions[0].value[0]", "unknown class 'sky'")),
        ("coarse", [{"class": "water", "points": SQUARE[:2]}], ("questions[0].value[0].points", "3 points")),
        ("coarse", [{"class": "water", "points": [[0, 0], [9, 0], [9, 99]]}], ("questions[0].value[0]", "outside")),
    ],
)
def test_faulty_answers_about_whole_images_are_refused(tmp_path: Path, kind: str, value: Any, words: tuple[str, ...]):
    desk = annotation_site.site(tmp_path, images=1, kinds=("proportions", "coarse")).desk()
    path = written(tmp_path / "a.json", {"questions": [{"image_id": "train/000", "kind": kind, "value": value}]})
    with pytest.raises(DataError) as caught:
        exchange.import_file(desk, path)
    for word in words:
        assert word in str(caught.value)
    assert desk.answers.since() == []


def test_an_export_taken_into_its_own_run_is_nothing_new(desk: Desk, tmp_path: Path):
    (image_id, *_) = desk.work("anna", "pixel", 1)[1]
    question = desk.rounds[0].by_image["pixel", image_id][0]
    desk.add("anna", [Entry(question, 1, None, 1.0, "")])
    exchange.export_file(desk, tmp_path / "a.csv")
    assert exchange.import_file(desk, tmp_path / "a.csv") == 0


def test_a_table_with_long_outlines_comes_back(tmp_path: Path):
    made = {"images": 1, "kinds": ("coarse",)}
    desk = annotation_site.site(tmp_path / "one", **made).desk()
    standing, (image_id,) = desk.work("anna", "coarse", 1)
    outline = [[x % 64 + x / 20_000, x % 48] for x in range(10_000)]
    text = json.dumps([{"class_id": 2, "points": outline, "holes": []}])
    desk.add("anna", [Entry(standing.by_image["coarse", image_id][0], None, text, 2.5, "")])
    exchange.export_file(desk, tmp_path / "a.csv")
    limit = csv.field_size_limit()
    assert (tmp_path / "a.csv").stat().st_size > limit
    other = annotation_site.site(tmp_path / "two", **made).desk()
    assert exchange.import_file(other, tmp_path / "a.csv") == 1
    assert csv.field_size_limit() == limit
    (row,) = other.answers.since()
    assert decode_polygons(row.value or "") == decode_polygons(desk.answers.since()[0].value or "")


def test_what_the_csv_module_does_not_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise csv.Error("unexpected end of data")

    path = written(tmp_path / "a.csv", "image_id,y,x,class\n")
    monkeypatch.setattr(csv, "DictReader", broken)
    with pytest.raises(DataError, match=r"^a.csv: the file: cannot be read \(unexpected end of data\)"):
        read(path)


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.via.json"])
def test_who_cannot_tell_is_understood_where_a_class_is_called_void(tmp_path: Path, name: str):
    made = {"images": 1, "pixels": 3, "classes": ("void", "(void)", "water")}
    desk = annotation_site.site(tmp_path / "one", **made).desk()
    standing, (image_id,) = desk.work("anna", "pixel", 1)
    asked = standing.by_image["pixel", image_id]
    for question, class_id in zip(asked, (0, 255, 1), strict=True):
        desk.add("anna", [Entry(question, class_id, None, 1.0, "")])
    exchange.export_file(desk, tmp_path / name)
    other = annotation_site.site(tmp_path / "two", **made).desk()
    assert exchange.import_file(other, tmp_path / name) == 3
    given = {row.place: row.class_id for row in other.answers.since()}
    assert [given[question.place] for question in asked] == [0, 255, 1]
    if "via" in name:
        project = json.loads((tmp_path / name).read_text())
        options = list(project["_via_attributes"]["region"]["class"]["options"])
        assert options == ["void", "(void)", "water", "((void))"]


def test_areas_that_reach_a_little_over_the_edge_come_back_from_an_export(tmp_path: Path):
    desk = annotation_site.site(tmp_path, images=1, kinds=("coarse",)).desk()
    over = [-0.4, 0, 64.5, 0, 64.5, 24, -0.4, 24]
    assert exchange.import_file(desk, written(tmp_path / "a.json", coco({"segmentation": [over]}))) == 1
    desk.refresh()
    exchange.export_file(desk, tmp_path / "b.json")
    assert exchange.import_file(desk, tmp_path / "b.json") == 0
    (question,) = desk.rounds[0].questions
    (row,) = desk.rounds[0].given(question).values()
    drawn = [messages.Drawn.model_validate(shown | {"holes": []}) for shown in answer_view(row)["polygons"]]
    given = messages.Given.model_validate({"query": "a", "seconds": 1, "polygons": drawn})
    assert messages.entry(given, question, classes=3, size=SIZE).value == row.value


@pytest.mark.parametrize("kind", ["proportions", "coarse"])
def test_so_it_is_of_whole_images(tmp_path: Path, kind: str):
    made = {"images": 1, "kinds": (kind,), "classes": ("void", "water")}
    desk = annotation_site.site(tmp_path / "one", **made).desk()
    standing, (image_id,) = desk.work("anna", kind, 1)
    desk.add("anna", [Entry(standing.by_image[kind, image_id][0], 255, None, 1.0, "")])
    exchange.export_file(desk, tmp_path / "a.csv")
    other = annotation_site.site(tmp_path / "two", **made).desk()
    assert exchange.import_file(other, tmp_path / "a.csv") == 1
    assert [(row.class_id, row.value) for row in other.answers.since()] == [(255, None)]


def answered(desk: Desk, who: str, class_id: int) -> None:
    """Answer everything that an annotator is asked on the page of pixels."""
    standing, image_ids = desk.work(who, "pixel", 8)
    for image_id in image_ids:
        for question in standing.by_image["pixel", image_id]:
            desk.add(who, [Entry(question, class_id, None, 1.0, "")])
    desk.work(who, "pixel", 8)  # done with, and given back


def changed(path: Path, label: str, *, rows: int) -> None:
    """Give the first answers of an export another class."""
    if path.suffix == ".csv":
        table = list(csv.DictReader(path.open()))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, table[0])
            writer.writeheader()
            writer.writerows(row | ({"class": label} if number < rows else {}) for number, row in enumerate(table))
        return
    content = json.loads(path.read_text())
    if "questions" in content:
        entries = content["questions"]
    else:
        images = content["_via_img_metadata"].values()
        entries = [region["region_attributes"] for image in images for region in image["regions"]]
    for entry in entries[:rows]:
        entry["class"] = label
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.via.json"])
def test_a_correction_in_an_export_is_its_annotators(tmp_path: Path, name: str):
    site = annotation_site.site(tmp_path, images=2)
    desk, path, told = site.desk(), tmp_path / name, []
    answered(desk, "anna", 1)
    exchange.export_file(desk, path)
    changed(path, "house", rows=2)
    assert exchange.import_file(desk, path, say=told.append) == 2
    assert told == [
        f"asked: 2 answers from {path}",
        "asked: 2 of them correct what the annotators that it names had answered",
    ]
    assert exchange.import_file(desk, path) == 0
    assert len(desk.answers.since()) == 8  # what was corrected is kept
    desk.answers.close()
    rows = site.close(0).to_pylist()
    assert sorted(row["class_id"] for row in rows) == [1, 1, 1, 1, 2, 2]
    assert {row["annotator"] for row in rows} == {"browser:anna"}


def test_everyone_in_an_export_may_be_corrected_and_those_unknown_here_are_the_files(tmp_path: Path):
    desk = annotation_site.site(
        tmp_path, images=1, pixels=1, annotators=("anna", "ben"), overrides=["labelling.repeat=1.0"]
    ).desk()
    for who in ("anna", "ben"):
        answered(desk, who, 1)
    (question,) = desk.rounds[0].questions
    _, _, image_id, y, x, _ = question.place
    rows = [f"{image_id},{y},{x},house,{who}" for who in ("anna", "ben", "carl", "dora")]
    path = written(tmp_path / "a.csv", "\n".join(["image_id,y,x,class,annotator", *rows]))
    assert exchange.import_file(desk, path) == 3
    desk.refresh()
    given = {name: row.class_id for name, row in desk.rounds[0].given(question).items()}
    assert given == {"anna": 2, "ben": 2, "import:a.csv": 2}


@pytest.mark.parametrize("names", ["kept", "dropped"])
def test_an_export_for_via_says_nothing_twice(tmp_path: Path, names: str):
    """What it does not change are the answers of those who gave them, also in a file that does not name them."""
    site = annotation_site.site(tmp_path, images=2, annotators=("anna", "ben"), overrides=["labelling.repeat=1.0"])
    desk, path = site.desk(), tmp_path / "a.via.json"
    answered(desk, "anna", 1)
    exchange.export_file(desk, path)
    if names == "dropped":
        project = json.loads(path.read_text())
        for image in project["_via_img_metadata"].values():
            for region in image["regions"]:
                assert region["region_attributes"].pop("annotator") == "anna"
                assert region["region_attributes"].pop("round") == "0"
        written(path, project)
    assert exchange.import_file(desk, path) == 0
    changed(path, "house", rows=1)
    assert exchange.import_file(desk, path) == 1
    desk.refresh()
    assert not desk.rounds[0].complete(1.0)
    assert desk.answers.since()[-1].annotator == ("anna" if names == "kept" else "import:a.via.json")
    changed(path, "water", rows=1)
    assert exchange.import_file(desk, path) == 1  # what the file said, or anna's answer, is corrected


def test_a_second_annotators_file_counts_where_it_agrees(tmp_path: Path):
    desk = annotation_site.site(
        tmp_path, images=1, pixels=1, annotators=("anna", "ben"), overrides=["labelling.repeat=1.0"]
    ).desk()
    answered(desk, "anna", 1)
    _, _, image_id, y, x, _ = desk.rounds[0].questions[0].place
    path = written(tmp_path / "ben.csv", f"image_id,y,x,class\n{image_id},{y},{x},water\n")
    assert exchange.import_file(desk, path) == 1
    desk.refresh()
    assert desk.rounds[0].complete(1.0)


def test_a_file_that_leaves_a_question_undecided_is_told(tmp_path: Path):
    desk, told = annotation_site.site(tmp_path, images=1).desk(), []
    answered(desk, "anna", 1)
    asked = [question.place for question in desk.rounds[0].questions]
    rows = [
        f"{place[2]},{place[3]},{place[4]},{label}" for place, label in zip(asked, ("house", "water"), strict=False)
    ]
    path = written(tmp_path / "a.csv", "\n".join(["image_id,y,x,class", *rows, "train/000,47,63,house"]))
    assert exchange.import_file(desk, path, say=told.append) == 3
    assert told == [
        f"asked: 3 answers from {path}",
        "asked: 1 of them differ from another answer, and nobody is left to be asked: they count as void",
    ]


def test_an_answer_that_comes_while_the_file_is_read_is_not_lost(desk: Desk, tmp_path: Path, monkeypatch: Any):
    answered(desk, "anna", 1)
    path = tmp_path / "a.csv"
    exchange.export_file(desk, path)
    changed(path, "house", rows=1)
    first = desk.answers.since()[0]
    question = desk.rounds[0].by_place[first.place]

    def slow(path: Path) -> list[Shape]:
        desk.add("anna", [Entry(question, 0, None, 1.0, first.answer_id)])
        return read(path)

    monkeypatch.setattr(exchange, "read", slow)
    with pytest.raises(DataError, match=r"^a.csv: somebody answered there meanwhile; take the file again$"):
        exchange.import_file(desk, path)
    monkeypatch.undo()
    assert exchange.import_file(desk, path) == 1
