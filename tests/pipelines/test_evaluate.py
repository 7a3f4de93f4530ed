"""The evaluate stage: the same figures as one process that looks at every image in turn."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny

from pipelines import evaluate
from pipelines.masks import MaskReader
from pipelines.parts import load_model, model_files
from pipelines.plain import plain
from weakseg.inference import predict


@pytest.mark.ray
def test_equals_a_plain_loop(finished_run: tuple[Path, dict[str, Any]]) -> None:
    root, result = finished_run
    with tiny.reopened(root) as (_, ledger):
        model = load_model(model_files(ledger, 1))
        masks = MaskReader(ledger.pool)
        index = ledger.pool.index("val")
        rows = [row for part in index.parts() for row in ledger.pool.images(part, split="val")]
        classes = len(ledger.pool.classes)
    truths = [masks.mask(row.image_id) for row in rows]
    predictions = list(predict(model, [row.image for row in rows], device="cpu"))
    intersections, unions = np.zeros(classes), np.zeros(classes)
    for truth, prediction in zip(truths, predictions, strict=True):
        known = truth != 255
        for c in range(classes):
            intersections[c] += ((truth == c) & (prediction == c) & known).sum()
            unions[c] += (((truth == c) | (prediction == c)) & known).sum()
    iou = intersections[unions > 0] / unions[unions > 0]
    validation = result["rounds"][1]["validation"]
    assert validation["images"] == len(rows)
    assert validation["miou"] == pytest.approx(iou.mean())


def test_published_means_are_given_beside_the_one_over_all_classes() -> None:
    iou = np.array([0.5, np.nan, 0.1])
    assert evaluate.also_reported(iou, ("road", "water", "unlabeled")) == {"miou_labelled": 0.5}
    assert evaluate.also_reported(np.array([0.9, 0.4]), ("background", "cell")) == {"foreground_iou": 0.4}
    assert evaluate.also_reported(iou, ("a", "b", "c")) == {}


def test_calibration_of_nothing_changes_nothing() -> None:
    found = plain(evaluate._calibration(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), None))
    assert found["temperature"] == 1.0
    assert found["ece"] is None
    assert sum(found["before"]["pixels"]) == 0


def test_sampled_pixels_are_read_as_arrays_and_are_those_of_lists() -> None:
    rng = np.random.default_rng(0)
    sizes = [4_000, 0, 3_000]
    logits = [rng.normal(size=20 * size).astype(np.float32) for size in sizes]
    labels = [rng.integers(0, 20, size) for size in sizes]
    chunks = [
        pa.table(
            {
                "logits": pa.array([logits[part]], pa.list_(pa.float32())),
                "labels": pa.array([labels[part]], pa.list_(pa.int64())),
                "part": [part],
            }
        )
        for part in (2, 0, 1)
    ]
    table = pa.concat_tables(chunks)
    tracemalloc.start()
    found = evaluate._samples(table)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 1.5 * table.nbytes
    for row in table.to_pylist():
        given, classes = found[row["part"]]
        assert (given.dtype, classes.dtype) == (np.float32, np.int64)
        assert given.tobytes() == np.array(row["logits"], np.float32).tobytes()
        assert classes.tobytes() == np.array(row["labels"], np.int64).tobytes()
    assert len(found) == len(sizes)


@pytest.mark.ray
def test_validation_split_is_never_trained_on(finished_run: tuple[Path, dict[str, Any]]) -> None:
    with tiny.reopened(finished_run[0]) as (_, ledger):
        labelled = set(ledger.labels()["image_id"].to_pylist())
        assert labelled == set(ledger.pool.index("train").image_ids.to_pylist())
        assert not labelled & set(ledger.pool.index("val").image_ids.to_pylist())
