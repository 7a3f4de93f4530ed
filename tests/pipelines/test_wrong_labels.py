"""Wrong labels counted part by part in this process, against a count pixel by pixel."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from pools import make_pool

from pipelines import wrong_labels
from pipelines.config import Config, identity, load
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from weakseg.datasets import Coarse, open_layout
from weakseg.schema import LABELS
from weakseg.supervision import coarsen

SIZE = (48, 64)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Config, Ledger]]:
    """A run with coarse labels and with points that are spread, one in every training image."""
    root = tmp_path_factory.mktemp("wrong")
    layout = open_layout("scenes", None, seed=0, images=14, size=SIZE)
    pool = make_pool(layout, root, size=SIZE, segments=12, coarse=Coarse("masks", erosion=1, tolerance=0.02))
    settings = [
        "run=wrong",
        f"storage.root={root}",
        "data.images=14",
        f"data.size={list(SIZE)}",
        "superpixels.segments=12",
        "training.augmentation.crop=null",
        "supervision.coarse=masks",
        "supervision.coarsening={erosion: 1, tolerance: 0.02}",
        "supervision.spread=segment",
    ]
    config = load("demo", settings)
    fields = identity(config, pool.digest)
    with Ledger.open(pool.storage, "wrong", fields, config.model_dump(mode="json"), {}) as ledger:
        rows = [
            {"answer_id": image_id, "image_id": image_id, "round": 0, "kind": "pixel", "y": 20, "x": 30, "class_id": 2}
            for image_id in ledger.pool.index("train").image_ids.to_pylist()
        ]
        ledger.write_table("rounds/000/labels.parquet", pa.Table.from_pylist(rows, schema=LABELS))
        yield config, ledger


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are worked on in this process; what goes through Ray's object store is handed on."""
    monkeypatch.setattr(wrong_labels.ray, "put", lambda value: value)
    monkeypatch.setattr(wrong_labels.ray, "get", lambda value: value)
    monkeypatch.setattr(
        wrong_labels, "over_parts", lambda config, parts, worker, arguments: map(worker(**arguments), parts)
    )


def test_spread_points_and_coarse_labels_are_counted_pixel_by_pixel(run: tuple[Config, Ledger]) -> None:
    config, ledger = run
    pool, masks = ledger.pool, MaskReader(ledger.pool)
    spread, rough = [0, 0], [0, 0]
    for part in pool.index("train").parts():
        for image in pool.images(part, split="train", segments=True):
            mask_HW = masks.find(image.image_id)
            assert mask_HW is not None
            for y, x in np.argwhere(image.segments == image.segments[20, 30]):
                if mask_HW[y, x] != 255:
                    spread[0] += int(mask_HW[y, x] != 2)
                    spread[1] += 1
            coarse_HW = coarsen(mask_HW, erosion=1, tolerance=0.02)
            known_HW = (coarse_HW != 255) & (mask_HW != 255)
            rough[0] += int((coarse_HW[known_HW] != mask_HW[known_HW]).sum())
            rough[1] += int(known_HW.sum())
    found = wrong_labels.label_errors(config, ledger, 0)
    assert [found["spread"]["wrong"], found["spread"]["labelled"]] == spread
    assert [found["coarse"]["wrong"], found["coarse"]["labelled"]] == rough
    assert 0 < spread[0] < spread[1]
    assert found["spread"]["share"] == spread[0] / spread[1]


def test_what_is_off_is_not_counted(run: tuple[Config, Ledger]) -> None:
    config, ledger = run
    plain = config.model_copy(update={"supervision": config.supervision.model_copy(update={"spread": None})})
    assert set(wrong_labels.label_errors(plain, ledger, 0)) == {"coarse"}
