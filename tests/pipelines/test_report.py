import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import stored_run
import yaml
from PIL import Image

from pipelines import report
from pipelines.console import Console
from pipelines.gallery import Exhibit, data_uri, exhibits, pictures
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from pipelines.rounds import round_model, write_chosen
from pipelines.storage import open_storage
from pipelines.tracking import Tracker
from weakseg.codec import decode_image
from weakseg.errors import LedgerError, WeaksegError
from weakseg.inference import predict
from weakseg.schema import QUARANTINE

VOID_TAGS = {"meta", "img", "source", "br", "link"}
EVIL = "<script>alert('x')</script>&\"'"


class Page(HTMLParser):
    """What a page shows and loads; every element must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    stored_run.write(root)
    return root


@pytest.fixture
def root(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "root"))


def written(root: Path) -> str:
    result = report.report(stored_run.config(root), Console())
    assert result == {"run": "stored", "rounds": 2, "report": str(root / "runs/stored/report.html")}
    return Path(result["report"]).read_text()


def folder(root: Path) -> Path:
    return next((root / "pools").glob("*/manifest.json")).parent


def test_the_page_tells_the_run_and_loads_nothing(root: Path) -> None:
    text = written(root)
    page = Page(text)
    assert page.loads
    assert all(load.startswith("data:image/") for load in page.loads)
    assert not page.tags & {"script", "link", "iframe", "object", "form"}
    assert not re.search(r"@import|url\(", text)
    for piece in (
        "validation mIoU 37.5 % round 1",
        "test mIoU 31.2 % round 1, read once",
        "labels per image 8.0 80 in all",
        "annotation time 1 min 54 s",
        "1 ★ 80 8.0 1 min 54 s 37.5 18.8 50.0 50.0 1.50",
        "masks of the validation split 11 min 00 s",
        "masks of all training images would be 55 min 00 s",
        "distinct classes per image",
        "torch 2.0 <local>",
    ):
        assert piece in page.words, piece


@pytest.mark.parametrize("proportions", [None, "masks"])
def test_what_crops_tell_beyond_the_bill_is_said(root: Path, proportions: str | None) -> None:
    with stored_run.opened(root) as (_, ledger):
        config = ledger.record["config"]
        supervision = {**config["supervision"], "proportions": proportions}
        ledger.write_json("run.json", {**ledger.record, "config": {**config, "supervision": supervision}})
    note = "Class proportions are counted anew in every crop: that is more than an annotator's 20 s per image"
    assert (note in Page(written(root)).words) is (proportions is not None)


def test_every_picture_can_be_opened(root: Path) -> None:
    for load in Page(written(root)).loads:
        kind, data = load.removeprefix("data:image/").split(";base64,")
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format.lower() == kind
            assert image.size[0] >= 400


def test_a_class_that_does_not_occur_has_a_dash(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        names = ledger.pool.classes.names
    words = Page(written(root)).words
    assert f"{names[0]} 25.0 37.5 31.2" in words
    assert f"{names[-1]} – – –" in words  # noqa: RUF001 - typography


def test_what_users_write_is_shown_and_not_run(root: Path) -> None:
    classes = folder(root) / "classes.yaml"
    content = yaml.safe_load(classes.read_text())
    content["classes"][0]["name"] = EVIL
    classes.write_text(yaml.safe_dump(content))
    with stored_run.opened(root) as (_, ledger):
        row = {"image_id": "x", "source": f"{EVIL}.jpg", "stage": "prepare", "error": f"{EVIL} is no image"}
        quarantine = pa.Table.from_pylist([row], QUARANTINE)
        ledger.storage.write_table(f"pools/{folder(root).name}/quarantine.parquet", quarantine)
        amendments = [{"at": EVIL, "field": EVIL, "old": EVIL, "new": EVIL}]
        ledger.write_json("run.json", {**ledger.record, "versions": {EVIL: EVIL}, "amendments": amendments})
    page = Page(written(root))
    assert "script" not in page.tags
    assert page.words.count(EVIL) >= 9
    assert f"{EVIL}.jpg prepare {EVIL} is no image" in page.words


def test_a_long_quarantine_is_cut_and_counted(root: Path) -> None:
    rows = [{"image_id": str(i), "source": f"bad-{i}-file", "stage": "prepare", "error": "empty"} for i in range(205)]
    storage = open_storage(root)
    storage.write_table(f"pools/{folder(root).name}/quarantine.parquet", pa.Table.from_pylist(rows, QUARANTINE))
    words = Page(written(root)).words
    assert "quarantined images 205" in words
    assert "bad-199-file" in words
    assert "bad-200-file" not in words
    assert "and 5 more" in words


def test_without_validation_masks_and_test(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        for number, metrics in enumerate(stored_run.rounds(ledger)):
            ledger.write_json(f"rounds/00{number}/metrics.json", {**metrics, "validation": None})
            (root / f"runs/stored/rounds/00{number}/statistics.json").unlink()
        (root / "runs/stored/test.json").unlink()
    words = Page(written(root)).words
    assert "validation mIoU" not in words
    assert "IoU per class" not in words
    assert "What was asked" not in words
    assert "1 ★ 80 8.0 1 min 54 s – – – – 1.50" in words  # noqa: RUF001 - typography


def test_without_masks_the_estimate_stands_in_and_the_page_says_so(root: Path) -> None:
    people = {
        "annotator": "<b>anna</b>",
        "answers": 40,
        "median_seconds": 1.25,
        "pairs": 8,
        "agreement": 0.875,
        "controls": 0,
        "accuracy": None,
    }
    estimate = {"accuracy": 0.75, "low": 0.625, "high": 0.8125, "points": 40, "images": 8}
    with stored_run.opened(root) as (_, ledger):
        for number, metrics in enumerate(stored_run.rounds(ledger)):
            ledger.write_json(f"rounds/00{number}/metrics.json", {**metrics, "validation": None, "estimate": estimate})
        ledger.write_json("rounds/001/people.json", [people])
        manifest = f"pools/{folder(root).name}/manifest.json"
        content = json.loads(ledger.storage.read_bytes(manifest))
        ledger.storage.write_bytes(manifest, json.dumps({**content, "masks": {}}).encode())
    (root / "runs/stored/test.json").unlink()
    page = written(root)
    words = Page(page).words
    assert "No image of this data set has a mask" in words
    assert words.count("mIoU") == words.count("boundary F1") == 1  # where it says what is left out
    assert "on validation" not in page
    assert "validation split" not in page
    assert "1 ★ 8.0 75.0 62.5 to 81.2 40 8" in words
    assert "<b>anna</b> 40 1.25 87.5 8 – 0" in words  # noqa: RUF001 - typography


@pytest.mark.parametrize(("which", "star"), [("best", "0 ★"), ("last", "1 ★")])
def test_the_star_is_at_the_registered_round(root: Path, which: str, star: str) -> None:
    with stored_run.opened(root) as (_, ledger):
        metrics = ledger.read_json("rounds/000/metrics.json")
        metrics["validation"]["miou"] = 0.9
        ledger.write_json("rounds/000/metrics.json", metrics)
        config = {**ledger.record["config"], "register": {"name": None, "round": which}}
        ledger.write_json("run.json", {**ledger.record, "config": config})
    words = Page(written(root)).words
    assert star in words
    assert f"What the model of round {star[0]} sees" in words


def test_the_star_stays_at_the_registered_round_while_more_are_learned(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        write_chosen(ledger, 0)
    words = Page(written(root)).words
    assert "0 ★" in words
    assert "1 ★" not in words
    assert "What the model of round 0 sees" in words


def test_no_finished_round_is_said(root: Path) -> None:
    shutil.rmtree(root / "runs/stored/rounds")
    with pytest.raises(WeaksegError, match="no evaluated round to report yet"):
        report.report(stored_run.config(root), Console())
    with pytest.raises(LedgerError, match="there are: stored"):
        report.report(stored_run.config(root, "run=other"), Console())


def test_the_driver_writes_it_and_gives_the_pictures_to_mlflow(root: Path, mlflow_uri: str) -> None:
    tracker = Tracker(mlflow_uri, "weakseg", artifact_location=(root / "mlruns").as_uri())
    with stored_run.opened(root) as (plan, ledger):
        run_id = tracker.run(ledger.id, name=ledger.run)
        path = report.run(plan, ledger, tracker=tracker, run_id=run_id)
    assert path == str(root / "runs/stored/report.html")

    def files(folder: str = "") -> list[str]:
        found = tracker.client.list_artifacts(run_id, folder)
        return [name for item in found for name in (files(item.path) if item.is_dir else [item.path])]

    assert files() == [
        "figures/learning_curve.png",
        "figures/per_class_iou.png",
        *(f"overlays/train_{i:02d}.png" for i in range(4)),
        *(f"overlays/val_{i:02d}.png" for i in range(2)),
        "report.html",
    ]
    logged = tracker.client.download_artifacts(run_id, "report.html")
    assert Path(logged).read_bytes() == Path(path).read_bytes()


def shown_of(root: Path, round: int, split: str, count: int) -> list[Exhibit]:
    ledger = Ledger.read(open_storage(root), "stored")
    return list(exhibits(ledger, round, split, count, masks=MaskReader(ledger.pool).find))


def test_exhibits_are_the_rounds_predictions_truth_and_all_points_so_far(root: Path) -> None:
    ledger = Ledger.read(open_storage(root), "stored")
    index = ledger.pool.index("train")
    rows = {row.image_id: row.image for part in index.parts() for row in ledger.pool.images(part, split="train")}
    labels = ledger.labels(0).to_pylist()
    shown = shown_of(root, 0, "train", 3)
    assert [shown[0].image_id, shown[-1].image_id] == [index.image_ids[0].as_py(), index.image_ids[-1].as_py()]
    predictions = predict(round_model(ledger, 0), [rows[exhibit.image_id] for exhibit in shown])
    for exhibit, prediction_HW in zip(shown, predictions, strict=True):
        np.testing.assert_array_equal(exhibit.image_HW3, rows[exhibit.image_id])
        np.testing.assert_array_equal(exhibit.prediction_HW, prediction_HW)
        answers = {(row["y"], row["x"], row["class_id"]) for row in labels if row["image_id"] == exhibit.image_id}
        points = {(*map(int, yx), int(label)) for yx, label in zip(exhibit.points_N2, exhibit.labels_N, strict=True)}
        assert points == answers
        for y, x, label in points:
            assert exhibit.truth_HW[y, x] == label
    assert len(shown_of(root, 1, "train", 99)) == len(index)
    assert all(len(exhibit.labels_N) == 0 for exhibit in shown_of(root, 1, "val", 2))


def test_pictures_leave_out_the_truth_that_is_not_there(root: Path) -> None:
    ledger = Ledger.read(open_storage(root), "stored")
    exhibit = shown_of(root, 1, "val", 1)[0]
    assert list(pictures(exhibit, ledger.pool.classes)) == ["image", "truth", "prediction"]
    without = exhibit.__class__(**{**vars(exhibit), "truth_HW": None})
    assert list(pictures(without, ledger.pool.classes)) == ["image", "prediction"]


@pytest.mark.parametrize(("width", "shown"), [(64, 448), (480, 480), (600, 600), (2000, 720)])
def test_pictures_have_about_the_pages_width(root: Path, width: int, shown: int) -> None:
    ledger = Ledger.read(open_storage(root), "stored")
    exhibit = shown_of(root, 1, "val", 1)[0]
    image_HW3 = np.zeros((width // 2, width, 3), np.uint8)
    mask_HW = np.zeros((width // 2, width), np.uint8)
    fields = {**vars(exhibit), "image_HW3": image_HW3, "truth_HW": mask_HW, "prediction_HW": mask_HW}
    fields |= {"points_N2": np.array([[width // 4, width // 2]]), "labels_N": np.array([1])}
    for uri in pictures(exhibit.__class__(**fields), ledger.pool.classes).values():
        picture = decode_image(base64.b64decode(uri.split(",")[1]))
        assert picture.shape == (shown // 2, shown, 3)
    # The queried pixel lies in the middle of the enlarged or reduced image too.
    image = decode_image(
        base64.b64decode(pictures(exhibit.__class__(**fields), ledger.pool.classes)["image"].split(",")[1])
    )
    rows, columns = np.nonzero(image.max(2) > 60)
    assert rows.mean() == pytest.approx(shown / 4, abs=max(4, shown / width))
    assert columns.mean() == pytest.approx(shown / 2, abs=max(4, shown / width))


def test_a_picture_in_a_page_is_the_picture() -> None:
    image = np.full((8, 8, 3), (200, 30, 60), np.uint8)
    given = decode_image(base64.b64decode(data_uri(image).removeprefix("data:image/webp;base64,")))
    np.testing.assert_allclose(given.astype(int), image.astype(int), atol=6)
    assert data_uri(b"png") == "data:image/png;base64,cG5n"
