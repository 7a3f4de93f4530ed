"""A part of any length goes through a stage's actor some images at a time, with the same result; without Ray."""

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pools import make_pool

from pipelines import evaluate, parts, regions, score
from pipelines.members import Voting
from pipelines.pool import Pool
from weakseg.datasets import open_layout
from weakseg.models import build_model
from weakseg.prediction import View
from weakseg.schema import LABELS
from weakseg.supervision import PointIndex


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    layout = open_layout("scenes", None, seed=0, images=14, size=(96, 128))
    return make_pool(layout, tmp_path_factory.mktemp("groups"), tile=(32, 64), segments=8)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    made = build_model("fcn8", encoder="squeezenet1_0", classes=6, dropout=0.3).eval()
    for stage in (score, regions, evaluate):
        monkeypatch.setattr(stage, "load_model", lambda files: made)
    monkeypatch.setattr(score.ray, "get", lambda value: value)


@pytest.fixture
def most_held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many decoded images were held at once, in a list of one number."""
    images, alive, most = Pool.images, weakref.WeakSet(), [0]

    class Image(np.ndarray):
        def __hash__(self) -> int:
            return id(self)

        def __eq__(self, other: object) -> bool:
            return self is other

    def counted(self: Pool, *arguments: object, **options: object) -> Iterator[object]:
        for row in images(self, *arguments, **options):
            image = row.image.view(Image)
            alive.add(image)
            most[0] = max(most[0], len(alive))
            yield replace(row, image=image)

    monkeypatch.setattr(Pool, "images", counted)
    return most


def worker(kind: str, pool: Pool) -> tuple[parts.PartWorker, str]:
    index = pool.index("train")
    voting = Voting("margin", 2 if kind == "committee" else None, "soft", 0)
    if kind == "regions":
        return regions.RegionLister(pool, {}, voting, 1), "train"
    if kind == "evaluate":
        return evaluate.Evaluator(pool, {}, "val", None, 10, 0, View()), "val"
    asked = PointIndex(index.image_ids, LABELS.empty_table())
    return score.Scorer(pool, {}, asked, voting, np.full(len(index), 2), 0.05, False, 0, 1), "train"


@pytest.mark.parametrize("kind", ["score", "committee", "regions", "evaluate"])
def test_memory_is_bounded_and_the_result_the_same(kind, pool, model, most_held, monkeypatch):
    part_worker, split = worker(kind, pool)
    every = pool.index(split).parts()
    whole = pa.concat_tables([part_worker(part) for part in every])
    assert most_held[0] >= np.bincount(pool.index(split).part).max() > 7
    most_held[0] = 0
    monkeypatch.setattr(parts, "AT_ONCE", 3)
    grouped = pa.concat_tables([part_worker(part) for part in every])
    assert 3 <= most_held[0] <= 7
    assert grouped.num_rows
    assert grouped.equals(whole)
