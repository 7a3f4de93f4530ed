"""Where no image has a mask: a round's model against the points that people answered on held-out images."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.annotation.stage import checks
from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.parts import batch_size, load_model, model_files, over_parts
from pipelines.pool import Pool
from weakseg import seeding
from weakseg.inference import logits, most_probable
from weakseg.supervision import PointIndex, estimate_accuracy

JUDGED = pa.schema([("image", pa.int64()), ("correct", pa.bool_())])


class PointJudge:
    """Predicts the held-out images of one part at their points."""

    def __init__(self, pool: Pool, model: Mapping[str, Any], points: PointIndex) -> None:
        """Load the model."""
        self._pool, self._model, self._points = pool, load_model(model), points

    def __call__(self, part: int) -> pa.Table:
        """One row per point whose class is known: which image, and whether the model is right."""
        rows = [row for row in self._pool.images(part, split="holdout") if len(self._points.points(row.index)[1])]
        images, correct = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
        read = (row.image for row in rows)
        predicted = logits(self._model, read, batch_size=batch_size(self._pool))
        for row, logits_CHW in zip(rows, predicted, strict=True):
            points_N2, labels_N = self._points.points(row.index)
            y_N, x_N = points_N2.astype(np.int64).T
            images.append(np.full(len(labels_N), row.index))
            correct.append(most_probable(logits_CHW).cpu().numpy()[y_N, x_N] == labels_N)
        return pa.table({"image": np.concatenate(images), "correct": np.concatenate(correct)}).cast(JUDGED)


def run(config: Config, ledger: Ledger, round: int, *, console: Console) -> dict[str, Any] | None:
    """Estimate the accuracy of a round's model from all held-out points answered so far.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Whose model.
        console: Where progress goes.

    Returns:
        accuracy, low and high (the 95 % interval), points, images; None where nothing is held out or answered.
    """
    index = ledger.pool.index("holdout")
    if not len(index):
        return None
    points = PointIndex(index.image_ids, checks(ledger, round), subset=True)
    arguments = {"pool": ledger.pool, "model": model_files(ledger, round), "points": points}
    tables = [JUDGED.empty_table()]  # parts without an answer do not come back
    with console.stage(f"round {round}: estimate the accuracy", total=len(index.parts())) as stage:
        for table in over_parts(config, index.parts(), PointJudge, arguments):
            tables.append(table)
            stage.advance(1)
    # Parts come back in any order: sorted, the draws meet the same images every time.
    found = pa.concat_tables(tables).sort_by("image")
    if not found.num_rows:
        return None
    image_N = found["image"].to_numpy()
    known = np.unique(image_N)
    pixels = index.heights[known].astype(np.int64) * index.widths[known]
    estimate = estimate_accuracy(
        found["correct"].to_numpy(),
        np.searchsorted(known, image_N),
        pixels_I=pixels,
        rng=seeding.generator(config.seed, "estimate", round=round),
    )
    return asdict(estimate)
