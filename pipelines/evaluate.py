"""The evaluate stage: a round's model against the masks of a split.

Every actor sums confusion matrix and boundary counts over its parts; the driver adds integers. So the scores do
not depend on how the images were spread, and every image counts exactly once (checked).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from pipelines.parts import batch_size, grouped, load_model, model_files, over_parts
from pipelines.plain import plain
from pipelines.pool import Pool
from weakseg import seeding
from weakseg.inference import assignments, most_probable
from weakseg.metrics import (
    AssignmentCounts,
    BoundaryCounts,
    SuperpixelCounts,
    achievable_accuracy,
    assignment_accuracy,
    assignment_counts,
    boundary_counts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    boundary_recall_paper,
    calibration_counts,
    confusion_matrix,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    sample_logits,
    scores,
    segment_boundary_counts,
    superpixel_counts,
    undersegmentation_error,
)
from weakseg.prediction import View, viewed_logits

SAMPLED = 200_000
"""Pixels of a split from which calibration is read, spread evenly over its images."""


class Evaluator:
    """Counts one part: what is added up over its images, and a sample of pixels with their logits."""

    def __init__(
        self,
        pool: Pool,
        model: Mapping[str, Any],
        split: str,
        boundary_radius: int | None,
        pixels_per_image: int,
        seed: int,
        view: View,
    ) -> None:
        """Load the model."""
        self._pool, self._model = pool, load_model(model)
        self._masks = MaskReader(self._pool)
        self._split, self._radius = split, boundary_radius
        self._pixels, self._seed, self._view = pixels_per_image, seed, view

    def __call__(self, part: int) -> pa.Table:
        """The part's counts as one row."""
        classes = len(self._pool.classes)
        confusion = np.zeros((classes, classes), np.int64)
        boundary, slic_boundary = BoundaryCounts(), BoundaryCounts()
        slic, learned = SuperpixelCounts(), AssignmentCounts()
        values, truths, counted = [], [], 0
        found = self._pool.images(part, split=self._split, segments=self._pool.segments > 0)
        for group in grouped(found):
            pairs = [(row, mask_HW) for row in group if (mask_HW := self._masks.find(row.image_id)) is not None]
            counted += len(pairs)
            images = [row.image for row, _ in pairs]
            size = batch_size(self._pool)
            found_logits = viewed_logits(self._model, images, view=self._view, batch_size=size)
            for (row, target_HW), logits_CHW in zip(pairs, found_logits, strict=True):
                prediction_HW = most_probable(logits_CHW).cpu().numpy()
                confusion += confusion_matrix(prediction_HW, target_HW, classes)
                boundary += boundary_counts(prediction_HW, target_HW, radius=self._radius)
                rng = seeding.generator(self._seed, "calibration", image_id=row.image_id)
                logits_NC, labels_N = sample_logits(logits_CHW, target_HW, self._pixels, rng)
                values.append(logits_NC.ravel())
                truths.append(labels_N)
                if row.segments is not None:
                    slic += superpixel_counts(row.segments, target_HW)
                    slic_boundary += segment_boundary_counts(row.segments, target_HW, radius=self._radius)
            if getattr(self._model, "spec", {}).get("upsampling") == "superpixel":
                # Superpixels of an image that was resized or cut are not those of its mask.
                whole = [(image, target_HW) for image, (_, target_HW) in zip(images, pairs, strict=True)]
                whole = [pair for pair in whole if self._view.is_plain(pair[1].shape)]
                found_assignments = assignments(self._model, (image for image, _ in whole), batch_size=size)
                for (_, target_HW), found_A in zip(whole, found_assignments, strict=True):
                    assert found_A is not None
                    learned += assignment_counts(found_A, target_HW[None])
        return pa.table(
            {
                "images": [counted],
                "confusion": [confusion.ravel().tolist()],
                "boundary": [list(astuple(boundary))],
                "slic": [list(astuple(slic))],
                "slic_boundary": [list(astuple(slic_boundary))],
                "learned": [list(astuple(learned))],
                "logits": pa.array([np.concatenate(values) if values else []], pa.list_(pa.float32())),
                "labels": pa.array([np.concatenate(truths) if truths else []], pa.list_(pa.int64())),
                "part": [part],
            }
        )


def run(
    config: Config, ledger: Ledger, round: int, split: str, *, console: Console, temperature: float | None = None
) -> dict[str, Any]:
    """Score a round's model on a split.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Whose model.
        split: `val` or `test`.
        console: Where progress goes.
        temperature: By which logits are divided for calibrated probabilities; None = fitted here, on this split.

    Returns:
        As :func:`measure`.
    """
    title = f"round {round}: evaluate ({split})"
    return measure(
        config, ledger.pool, model_files(ledger, round), split, console=console, title=title, temperature=temperature
    )


def measure(
    config: Config,
    pool: Pool,
    model: Mapping[str, Any],
    split: str,
    *,
    console: Console,
    title: str,
    temperature: float | None = None,
    view: View | None = None,
) -> dict[str, Any]:
    """Score any model on a split of any pool.

    Args:
        config: Its sections `evaluate` and `cluster`, and the seed.
        pool: The pool.
        model: Spec and weights, as :func:`pipelines.parts.model_files` gives them.
        split: `val` or `test`.
        console: Where progress goes.
        title: What is being done.
        temperature: By which logits are divided for calibrated probabilities; None = fitted here, on this split.
        view: How the model sees images; None = the pool's as they are.

    Returns:
        miou, iou, f1, pixel_accuracy, mean_accuracy, boundary (recall, precision, f1, recall_paper), calibration (see
        :func:`_calibration`), images; where there are superpixels, how well they keep to the masks; NaN as None.
    """
    index = pool.index(split)
    expected = MaskReader(pool).count(split)
    arguments = {
        "pool": pool,
        "model": dict(model),
        "split": split,
        "boundary_radius": config.evaluate.boundary_radius,
        "pixels_per_image": max(1, SAMPLED // max(1, expected)),
        "seed": config.seed,
        "view": view or View(),
    }
    parts = index.parts()
    names = pool.classes.names
    classes = len(names)
    confusion, images = np.zeros((classes, classes), np.int64), 0
    boundary, slic_boundary = BoundaryCounts(), BoundaryCounts()
    slic, learned = SuperpixelCounts(), AssignmentCounts()
    samples: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    with console.stage(title, total=len(parts)) as stage:
        for table in over_parts(config, parts, Evaluator, arguments):
            samples |= _samples(table)
            for row in table.drop_columns(["logits", "labels"]).to_pylist():
                images += row["images"]
                confusion += np.array(row["confusion"], np.int64).reshape(classes, classes)
                boundary += BoundaryCounts(*row["boundary"])
                slic += SuperpixelCounts(*row["slic"])
                slic_boundary += BoundaryCounts(*row["slic_boundary"])
                learned += AssignmentCounts(*row["learned"])
                stage.advance(1)
    assert images == expected, f"{images} of {expected} {split} images were evaluated"
    result: dict[str, Any] = {**scores(confusion), "images": images}
    result |= also_reported(result["iou"], names)
    result["boundary"] = {
        "recall": boundary_recall(boundary),
        "precision": boundary_precision(boundary),
        "f1": boundary_f1(boundary),
        "recall_paper": boundary_recall_paper(boundary),
    }
    flat = np.concatenate([samples[part][0] for part in sorted(samples)])
    labels_N = np.concatenate([samples[part][1] for part in sorted(samples)])
    result["calibration"] = _calibration(flat.reshape(-1, int(model["spec"]["classes"])), labels_N, temperature)
    if slic.pixels:
        result["superpixels"] = {
            "achievable_accuracy": achievable_accuracy(slic),
            "undersegmentation_error": undersegmentation_error(slic),
            "boundary_recall": boundary_recall(slic_boundary),
        }
    if learned.pixels:
        result["assignment_accuracy"] = assignment_accuracy(learned)
    return plain(result)


def _samples(table: pa.Table) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The sampled pixels of evaluated parts: the logits one pixel after the other, and the classes.

    Copies, so that the object store need not keep the table.
    """
    columns = (table[name] for name in ("part", "logits", "labels"))
    return {
        part.as_py(): (np.array(logits.values, np.float32), np.array(labels.values, np.int64))
        for part, logits, labels in zip(*columns, strict=True)
    }


def _calibration(logits_NC: np.ndarray, labels_N: np.ndarray, temperature: float | None) -> dict[str, Any]:
    """Calibration of sampled pixels as the model is, and at a temperature.

    Returns:
        temperature; ece and nll, and the same at the temperature (ece_scaled, nll_scaled); counts of the reliability
        diagram before and after.
    """
    if temperature is None:
        temperature = fit_temperature(logits_NC, labels_N)
    before = calibration_counts(logits_NC, labels_N)
    after = calibration_counts(logits_NC, labels_N, temperature=temperature)
    return {
        "temperature": temperature,
        "ece": expected_calibration_error(before),
        "ece_scaled": expected_calibration_error(after),
        "nll": negative_log_likelihood(before),
        "nll_scaled": negative_log_likelihood(after),
        "before": asdict(before),
        "after": asdict(after),
    }


def also_reported(iou_C: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Means that publications report beside the one over all classes.

    Args:
        iou_C: IoU per class, NaN where a class does not occur.
        names: The classes.

    Returns:
        ``miou_labelled``: without the class `unlabeled`, where there is one (Aerial Dubai: 5 instead of 6 classes).
        ``foreground_iou``: the second of two classes (EPFL EM: mitochondria).
    """
    found: dict[str, float] = {}
    if "unlabeled" in names:
        rest_C = np.delete(iou_C, list(names).index("unlabeled"))
        found["miou_labelled"] = float(np.nanmean(rest_C)) if not np.isnan(rest_C).all() else float("nan")
    if len(names) == 2:
        found["foreground_iou"] = float(iou_C[1])
    return found


def masks(ledger: Ledger, split: str) -> int:
    """How many images of a split have a mask to be scored on."""
    return MaskReader(ledger.pool).count(split)


def has_masks(pool: Pool, split: str) -> bool:
    """Whether a split can be scored on."""
    return MaskReader(pool).available(split)
