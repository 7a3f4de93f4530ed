"""Regions listed part by part and chosen over the whole pool; the parts are worked on in this process, without Ray."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch
from pools import make_pool

from pipelines import regions
from pipelines.config import Config, identity, load
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.members import Voting
from weakseg import inference
from weakseg.datasets import open_layout
from weakseg.models import build_model
from weakseg.schema import LABELS

SIZE = (48, 64)
VOTING = Voting("region", None, "soft", 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Config, Ledger]]:
    root = tmp_path_factory.mktemp("regions")
    pool = make_pool(open_layout("scenes", None, seed=0, images=14, size=SIZE), root, size=SIZE, segments=12)
    settings = [
        "run=regions",
        f"storage.root={root}",
        "data.images=14",
        f"data.size={list(SIZE)}",
        "superpixels.segments=12",
        "training.augmentation.crop=null",
        "labelling.acquisition=region",
        "labelling.pixels_per_image=2",
    ]
    config = load("demo", settings)
    with Ledger.open(
        pool.storage, "regions", identity(config, pool.digest), config.model_dump(mode="json"), {}
    ) as ledger:
        yield config, ledger


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("unet_spss", encoder=None, classes=6, filters=4).eval()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module) -> None:
    """Parts are worked on in this process, last one first."""
    monkeypatch.setattr(regions, "load_model", lambda files: model)
    monkeypatch.setattr(
        regions,
        "over_parts",
        lambda config, parts, worker, arguments: map(worker(**arguments), reversed(parts)),
    )


def choose(run: tuple[Config, Ledger], *, model: object, labels: pa.Table | None = None, round: int = 1) -> pa.Table:
    config, ledger = run
    return regions.choose(config, ledger, round=round, model=model, labels=labels, console=Console())


def pairs(table: pa.Table) -> set[tuple[str, int]]:
    return set(zip(table["image_id"].to_pylist(), table["segment"].to_pylist(), strict=True))


def test_every_segment_of_a_part_is_listed_with_a_pixel_of_its_own(run: tuple[Config, Ledger]) -> None:
    pool = run[1].pool
    for part in pool.index("train").parts():
        images = list(pool.images(part, split="train", segments=True))
        rows = regions.RegionLister(pool, None, None, 0)(part).to_pylist()
        assert len(rows) == sum(int(image.segments.max()) + 1 for image in images)
        segments = {image.index: image.segments for image in images}
        assert all(segments[row["index"]][row["y"], row["x"]] == row["segment"] for row in rows)
        assert {row["score"] for row in rows} == {0.0}


def test_scores_are_means_of_second_over_first(run: tuple[Config, Ledger], here: None, model: torch.nn.Module) -> None:
    pool = run[1].pool
    part = pool.index("train").parts()[0]
    rows = regions.RegionLister(pool, {}, VOTING, 1)(part).to_pylist()
    images = list(pool.images(part, split="train", segments=True))
    predictions = inference.probabilities(model, [image.image for image in images])
    for image, probs_CHW in zip(images, predictions, strict=True):
        sorted_CHW = np.sort(probs_CHW.numpy().astype(np.float64), axis=0)
        ratio_HW, best_HW = sorted_CHW[-2] / sorted_CHW[-1], probs_CHW.numpy().argmax(0)
        for row in (row for row in rows if row["index"] == image.index):
            inside_HW = image.segments == row["segment"]
            assert row["score"] == pytest.approx(ratio_HW[inside_HW].mean(), abs=1e-5)
            assert row["majority"] == np.bincount(best_HW[inside_HW]).argmax()


def test_the_budget_is_the_pools_and_goes_to_the_best(run: tuple[Config, Ledger], here: None) -> None:
    index = run[1].pool.index("train")
    found = choose(run, model={})
    assert found.num_rows == len(pairs(found)) == 2 * len(index)
    scores = found["score"].to_numpy()
    assert (np.diff(scores) <= 0).all()
    assert found["rank"].to_pylist() == list(range(found.num_rows))
    # not so many of each image: the pool decides
    assert len({found["image_id"].to_pylist().count(image_id) for image_id in index.image_ids.to_pylist()}) > 1


def test_what_was_asked_is_not_asked_again(run: tuple[Config, Ledger], here: None) -> None:
    first = choose(run, model={})
    rows = [
        {
            "answer_id": str(row["rank"]),
            "image_id": row["image_id"],
            "round": 0,
            "kind": "region",
            "y": row["y"],
            "x": row["x"],
            "segment": row["segment"],
            "class_id": 1,
        }
        for row in first.to_pylist()
    ]
    second = choose(run, model={}, labels=pa.Table.from_pylist(rows, schema=LABELS), round=2)
    assert second.num_rows == first.num_rows
    assert not pairs(first) & pairs(second)


def test_without_a_model_the_draw_is_uniform_and_repeatable(run: tuple[Config, Ledger], here: None) -> None:
    drawn = choose(run, model=None, round=0)
    assert drawn.drop("entropy").equals(choose(run, model=None, round=0).drop("entropy"))  # NaN equals nothing
    assert pairs(drawn) != pairs(choose(run, model=None, round=1))
    assert len(pairs(drawn)) == 2 * len(run[1].pool.index("train"))
