"""The evaluate stage: a round's model against the masks of a split.

Every actor sums confusion matrix and boundary counts over its parts; the driver adds integers. So the scores do
not depend on how the images were spread, and every image counts exactly once (checked).
"""

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from pipelines.parts import load_model, model_files, over_parts
from pipelines.pool import Pool
from pipelines.storage import Storage
from weakseg.inference import predict
from weakseg.metrics import (
    BoundaryCounts,
    boundary_counts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    confusion_matrix,
    scores,
)


class Evaluator:
    """Counts one part: confusion matrix and boundary counts, summed over its images."""

    def __init__(
        self, storage: Storage, pool: str, model: Mapping[str, Any], split: str, boundary_radius: int | None
    ) -> None:
        """Load the model."""
        self._pool, self._model = Pool(storage, pool), load_model(model)
        self._masks = MaskReader(self._pool)
        self._split, self._radius = split, boundary_radius

    def __call__(self, part: int) -> pa.Table:
        """The part's counts as one row."""
        classes = len(self._pool.classes)
        confusion = np.zeros((classes, classes), np.int64)
        boundary = BoundaryCounts()
        found = ((row.image, self._masks.find(row.image_id)) for row in self._pool.images(part, split=self._split))
        pairs = [(image_HW3, target_HW) for image_HW3, target_HW in found if target_HW is not None]
        device = next(self._model.parameters()).device
        predictions = predict(self._model, (image_HW3 for image_HW3, _ in pairs), device=device)
        for (_, target_HW), prediction_HW in zip(pairs, predictions, strict=True):
            confusion += confusion_matrix(prediction_HW, target_HW, classes)
            boundary += boundary_counts(prediction_HW, target_HW, radius=self._radius)
        return pa.table(
            {"images": [len(pairs)], "confusion": [confusion.ravel().tolist()], "boundary": [list(astuple(boundary))]}
        )


def run(config: Config, ledger: Ledger, round: int, split: str, *, console: Console) -> dict[str, Any]:
    """Score a round's model on a split.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Whose model.
        split: `val` or `test`.
        console: Where progress goes.

    Returns:
        miou, iou, f1, pixel_accuracy, mean_accuracy, boundary (recall, precision, f1), images; NaN as None.
    """
    index = ledger.pool.index(split)
    arguments = {
        "storage": ledger.storage,
        "pool": ledger.pool.digest,
        "model": model_files(ledger, round),
        "split": split,
        "boundary_radius": config.evaluate.boundary_radius,
    }
    parts = index.parts()
    classes = len(ledger.pool.classes)
    confusion, boundary, images = np.zeros((classes, classes), np.int64), BoundaryCounts(), 0
    with console.stage(f"round {round}: evaluate ({split})", total=len(parts)) as stage:
        for table in over_parts(config, parts, Evaluator, arguments):
            for row in table.to_pylist():
                images += row["images"]
                confusion += np.array(row["confusion"], np.int64).reshape(classes, classes)
                boundary += BoundaryCounts(*row["boundary"])
                stage.advance(1)
    expected = masks(ledger, split)
    assert images == expected, f"{images} of {expected} {split} images were evaluated"
    result = {**scores(confusion), "images": images}
    result["boundary"] = {
        "recall": boundary_recall(boundary),
        "precision": boundary_precision(boundary),
        "f1": boundary_f1(boundary),
    }
    return plain(result)


def masks(ledger: Ledger, split: str) -> int:
    """How many images of a split have a mask to be scored on."""
    return MaskReader(ledger.pool).count(split)


def plain(value: Any) -> Any:
    """JSON-able: arrays as lists, NaN (a class that occurs nowhere) as None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
