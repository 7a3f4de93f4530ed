"""The supervision of a run: files taken in once, what images bring, what it cost, and what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pools
import pytest
from layouts import write_folder

from pipelines import supervise
from pipelines.config import Config, identity, load
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from weakseg.datasets import Coarse, Example, open_layout
from weakseg.errors import DataError
from weakseg.supervision import class_proportions

SIZE = (48, 64)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supervise")
    pools.make_pool(
        open_layout("scenes", None, seed=0, images=14, size=SIZE),
        folder,
        size=SIZE,
        segments=20,
        coarse=Coarse("masks", erosion=1, tolerance=0.005),
    )
    return folder


@contextmanager
def opened(root: Path, run: str, *settings: str) -> Iterator[tuple[Config, Ledger]]:
    config = load(
        "demo",
        [
            f"run={run}",
            f"storage.root={root}",
            "data.images=14",
            f"data.size={list(SIZE)}",
            "superpixels.segments=20",
            "training.augmentation.scale=[0.5, 1.0]",
            "training.augmentation.crop=null",
            "supervision.coarsening.erosion=1",
            *settings,
        ],
    )
    digest = next((root / "pools").iterdir()).name
    with Ledger.open(
        pools.open_storage(root), run, identity(config, digest), config.model_dump(mode="json"), {}
    ) as ledger:
        yield config, ledger


def ids(ledger: Ledger, split: str = "train") -> list[str]:
    return ledger.pool.index(split).image_ids.to_pylist()


def example(ledger: Ledger, image_id: str) -> Example:
    empty = np.zeros((0, 2), np.float32)
    return Example(image_id, np.zeros((*SIZE, 3), np.uint8), empty, np.zeros(0, np.int64))


def test_proportions_from_masks_are_those_of_the_masks(root: Path):
    with opened(root, "masks", "supervision.proportions=masks") as (config, ledger):
        supervise.run(config, ledger)
        bring = supervise.bring(config, ledger, None)
        for index, image_id in enumerate(ids(ledger)):
            mask_HW = MaskReader(ledger.pool).mask(image_id)
            found = bring(index, example(ledger, image_id))
            np.testing.assert_allclose(found.proportions_C, class_proportions(mask_HW, 6), atol=1e-6)
            np.testing.assert_array_equal(found.counted_HW, mask_HW)
        assert supervise.seconds(config, ledger) == {"proportions": 20.0 * len(ids(ledger))}


def test_noise_changes_training_images_only_and_the_same_way_each_time(root: Path):
    settings = ("supervision.proportions=masks", "supervision.noise.sigma=0.3", "supervision.noise.normalise=clip")
    with opened(root, "noise", *settings, "training.early_stopping.patience=2") as (config, ledger):
        first, again = (supervise.bring(config, ledger, None).proportions for _ in range(2))
        np.testing.assert_array_equal(first.table_NC, again.table_NC)
        assert not np.allclose(first.table_NC, ledger.pool.proportions("train"))
        assert first.masks is None
        validation, weights = supervise.bring_validation(config, ledger)
        np.testing.assert_array_equal(validation.proportions.table_NC, ledger.pool.proportions("val"))
        assert weights == {"proportion": 1.0, "mask": 1.0}


def test_without_noise_proportions_are_counted_anew_however_noise_would_be_normalised(root: Path):
    settings = ("supervision.proportions=masks", "supervision.noise.normalise=clip")
    with opened(root, "clip", *settings) as (config, ledger):
        assert supervise.bring(config, ledger, None).proportions.masks is not None


def test_shares_are_exact_and_nested(root: Path):
    kept = []
    for share in (0.3, 0.6):
        settings = ("supervision.proportions=masks", f"supervision.share.proportions={share}")
        with opened(root, f"share-{share}", *settings) as (config, ledger):
            count = supervise.counts(config, ledger)["proportions"]
            assert count == int(np.ceil(share * len(ids(ledger)) - 1e-9))
            table_NC = supervise.bring(config, ledger, None).proportions.table_NC
            kept.append(set(np.flatnonzero(~np.isnan(table_NC).any(1)).tolist()))
    assert kept[0] < kept[1]


def test_proportions_that_no_term_reads_are_not_brought(root: Path):
    """They would not hold for crops, which nothing forbids then."""
    settings = ("supervision.proportions=masks", "supervision.noise.sigma=0.1", "loss.proportion=0")
    with opened(root, "unread", *settings) as (config, ledger):
        assert supervise.bring(config, ledger, None).proportions is None


def test_proportions_from_a_file_are_taken_once(root: Path, tmp_path: Path):
    file = tmp_path / "shares.csv"
    with opened(root, "names") as (_, ledger):
        names, some = ledger.pool.classes.names, ids(ledger)[:3]
    rows = [f"{image_id},{','.join(['1'] + ['0'] * (len(names) - 1))},{7 + n}" for n, image_id in enumerate(some)]
    file.write_text("\n".join([f"image_id,{','.join(names)},seconds", *rows]) + "\n")
    with opened(root, "file", f"supervision.proportions={file}") as (config, ledger):
        supervise.run(config, ledger)
        file.write_text("broken")
        supervise.run(config, ledger)  # what was taken in is the run's own
        table_NC = supervise.bring(config, ledger, None).proportions.table_NC
        known = ~np.isnan(table_NC).any(1)
        assert known.sum() == 3
        np.testing.assert_array_equal(table_NC[known], np.eye(len(names), dtype=np.float32)[[0, 0, 0]])
        assert supervise.seconds(config, ledger)["proportions"] == 7 + 8 + 9


def test_where_a_file_has_no_row_of_a_validation_image_its_mask_tells(root: Path, tmp_path: Path):
    file = tmp_path / "shares.csv"
    with opened(root, "split-names") as (_, ledger):
        names, trained_on, held_out = ledger.pool.classes.names, ids(ledger)[0], ids(ledger, "val")
    first = ",".join(["1"] + ["0"] * (len(names) - 1))
    file.write_text(f"image_id,{','.join(names)}\n{trained_on},{first}\n{held_out[0]},{first}\n")
    with opened(root, "split", f"supervision.proportions={file}", "supervision.points=false", "labelling.rounds=1") as (
        config,
        ledger,
    ):
        supervise.run(config, ledger)
        bring, _ = supervise.bring_validation(config, ledger)
        for index, image_id in enumerate(held_out):
            mask_HW = MaskReader(ledger.pool).mask(image_id)
            expected = np.eye(len(names))[0] if index == 0 else class_proportions(mask_HW, len(names))
            np.testing.assert_allclose(bring(index, example(ledger, image_id)).proportions_C, expected, atol=1e-6)


def test_training_that_no_validation_image_could_end_is_refused_before_anyone_labels(tmp_path: Path):
    data = write_folder(tmp_path / "data", images=20, masks=None)
    pool = pools.make_pool(open_layout("folder", data, seed=0), tmp_path, size=(16, 20))
    assert len(pool.index("val"))
    settings = ["data.layout=folder", f"data.path={data}", "data.size=[16, 20]"]
    settings += [f"storage.root={tmp_path}", "training.augmentation.crop=null", "superpixels.segments=0"]
    settings += ["labelling.annotator=browser", "data.images=null"]
    for run, more in (("fine", []), ("blind", ["training.early_stopping={patience: 3}"])):
        config = load("demo", [*settings, f"run={run}", *more])
        fields = identity(config, pool.digest)
        with Ledger.open(pool.storage, run, fields, config.model_dump(mode="json"), {}) as ledger:
            if run == "fine":
                supervise.run(config, ledger)
                continue
            with pytest.raises(DataError, match=r"training\.early_stopping: no validation image has a label .*masks"):
                supervise.run(config, ledger)


def test_a_share_of_what_a_file_gives_costs_a_share(root: Path, tmp_path: Path):
    with opened(root, "all-names") as (_, ledger):
        names, some = ledger.pool.classes.names, ids(ledger)
    shares = tmp_path / "shares.csv"
    first = ",".join(["1"] + ["0"] * (len(names) - 1))
    shares.write_text("\n".join([f"image_id,{','.join(names)},seconds", *(f"{i},{first},7" for i in some)]) + "\n")
    rough = tmp_path / "rough.json"
    polygon = f'{{"class": "{names[1]}", "points": [[0, 0], [32, 0], [32, 48], [0, 48]]}}'
    entries = [f'{{"image_id": "{i}", "seconds": 12.5, "polygons": [{polygon}]}}' for i in some]
    rough.write_text(f'{{"images": [{", ".join(entries)}]}}')
    files = (f"supervision.proportions={shares}", f"supervision.coarse={rough}")
    with opened(root, "half", *files, "supervision.share={proportions: 0.5, coarse: 0.25}") as (config, ledger):
        supervise.run(config, ledger)
        number, bill = supervise.counts(config, ledger), supervise.seconds(config, ledger)
        assert 0 < number["coarse"] < number["proportions"] < len(some)
        assert bill == {"proportions": 7.0 * number["proportions"], "coarse": 12.5 * number["coarse"]}


def test_a_faulty_file_is_refused_with_its_lines(root: Path, tmp_path: Path):
    file = tmp_path / "faulty.csv"
    file.write_text("image_id,field\nnowhere,1\n")
    with (
        opened(root, "faulty", f"supervision.proportions={file}") as (config, ledger),
        pytest.raises(DataError, match=r"faulty\.csv"),
    ):
        supervise.run(config, ledger)


def test_coarse_labels_are_read_from_the_pool(root: Path):
    with opened(root, "coarse", "supervision.coarse=masks") as (config, ledger):
        supervise.run(config, ledger)
        bring = supervise.bring(config, ledger, None)
        labelled = 0
        for index, image_id in enumerate(ids(ledger)):
            found = bring(index, example(ledger, image_id)).mask_HW
            classes = set(np.unique(MaskReader(ledger.pool).mask(image_id)).tolist())
            assert set(np.unique(found).tolist()) <= classes | {255}
            labelled += int((found != 255).sum())
        assert 0 < labelled < len(ids(ledger)) * SIZE[0] * SIZE[1]
        assert supervise.seconds(config, ledger) == {"coarse": 420.0 * len(ids(ledger))}


def test_polygons_from_a_file(root: Path, tmp_path: Path):
    file = tmp_path / "rough.json"
    with opened(root, "some") as (_, ledger):
        name, image_id, held_out = ledger.pool.classes.names[1], ids(ledger)[1], ids(ledger, "val")[0]
    polygon = f'{{"class": "{name}", "points": [[0, 0], [32, 0], [32, 48], [0, 48]]}}'
    # people may have drawn on any image; training reads its own
    entries = [f'{{"image_id": "{i}", "seconds": 12.5, "polygons": [{polygon}]}}' for i in (image_id, held_out)]
    file.write_text(f'{{"images": [{", ".join(entries)}]}}')
    with opened(root, "drawn", f"supervision.coarse={file}", "labelling.seconds.coarse=60") as (config, ledger):
        supervise.run(config, ledger)
        bring = supervise.bring(config, ledger, None)
        expected = np.full(SIZE, 255, np.uint8)
        expected[:, :32] = 1
        np.testing.assert_array_equal(bring(1, example(ledger, image_id)).mask_HW, expected)
        assert bring(0, example(ledger, ids(ledger)[0])).mask_HW is None
        assert supervise.counts(config, ledger)["coarse"] == 1
        assert supervise.seconds(config, ledger)["coarse"] == 12.5


def test_keypoints_cost_a_click_each(root: Path):
    settings = ("supervision.keypoints=masks", "supervision.keypoint.per_class=2", "supervision.points=false")
    with opened(root, "keypoints", *settings, "labelling.rounds=1") as (config, ledger):
        bring = supervise.bring(config, ledger, None)
        occurring = sum(len(np.unique(MaskReader(ledger.pool).mask(i))) for i in ids(ledger))
        assert supervise.seconds(config, ledger)["keypoints"] == pytest.approx(2 * 1.42 * occurring)
        assert bring(0, example(ledger, ids(ledger)[0])).keypoints_HW is not None


def test_the_oracle_needs_masks_and_people_do_not(tmp_path: Path):
    data = write_folder(tmp_path / "data", images=8, masks=None)
    pools.make_pool(open_layout("folder", data, seed=0), tmp_path / "runs", size=SIZE, segments=20)
    settings = ("data.layout=folder", f"data.path={data}", "data.images=null", "training.early_stopping=null")
    with (
        opened(tmp_path / "runs", "oracle", *settings) as (config, ledger),
        pytest.raises(DataError, match=r"^labelling\.annotator: .*--set labelling\.annotator=browser.*, or add masks/"),
    ):
        supervise.run(config, ledger)
    with opened(tmp_path / "runs", "oracle", *settings, "labelling.annotator=browser") as (config, ledger):
        supervise.run(config, ledger)


def test_supervision_that_no_image_has_is_refused(root: Path, tmp_path: Path):
    file = tmp_path / "val.csv"
    with opened(root, "val-names") as (_, ledger):
        names, held_out = ledger.pool.classes.names, ids(ledger, "val")[0]
    file.write_text(f"image_id,{','.join(names)}\n{held_out},1{',0' * (len(names) - 1)}\n")
    with (
        opened(root, "none", f"supervision.proportions={file}") as (config, ledger),
        pytest.raises(DataError, match=r"supervision\.proportions: no training image has proportions"),
    ):
        supervise.run(config, ledger)
