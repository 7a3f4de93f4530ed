"""How many labels that nobody gave pixel by pixel are wrong: points spread over segments, coarse labels from masks."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipelines.config import Config
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from pipelines.parts import over_parts
from pipelines.pool import Pool
from weakseg import supervision
from weakseg.supervision import PointIndex, spread_labels


def label_errors(config: Config, ledger: Ledger, round: int) -> dict[str, Any]:
    """How many labels that nobody gave pixel by pixel are wrong, where masks tell: spread points and coarse labels.

    Args:
        config: The run's configuration.
        ledger: The run.
        round: Up to which round points count.

    Returns:
        By kind (spread, coarse): labelled and wrong pixels, and their share; only what is on and can be told.
    """
    pool, index = ledger.pool, ledger.pool.index("train")
    found: dict[str, Any] = {}
    if config.supervision.spread and MaskReader(pool).available("train"):
        points = ray.put(PointIndex(index.image_ids, ledger.labels(round)))
        table = pa.concat_tables(over_parts(config, index.parts(), SpreadErrors, {"pool": pool, "points": points}))
        found["spread"] = [pc.sum(table[name]).as_py() for name in ("wrong", "labelled")]
    if pool.coarse is not None:
        table = pa.concat_tables([pool.coarse_counts(part) for part in index.parts()])
        found["coarse"] = [pc.sum(table[name]).as_py() or 0 for name in ("wrong", "labelled")]
    return {
        kind: {"wrong": wrong, "labelled": labelled, "share": wrong / labelled if labelled else None}
        for kind, (wrong, labelled) in found.items()
    }


class SpreadErrors:
    """Counts, for one part, pixels that a point's segment labels wrongly."""

    def __init__(self, pool: Pool, points: ray.ObjectRef) -> None:
        """Fetch the points."""
        self._pool, self._masks = pool, MaskReader(pool)
        self._points: PointIndex = ray.get(points)

    def __call__(self, part: int) -> pa.Table:
        """The part's counts as one row."""
        wrong = labelled = 0
        for row in self._pool.images(part, split="train", segments=True):
            mask_HW = self._masks.find(row.image_id)
            if mask_HW is not None:
                assert row.segments is not None
                spread_HW = spread_labels(*self._points.points(row.index, void=True), row.segments)
                counts = supervision.label_errors(spread_HW, mask_HW)
                wrong, labelled = wrong + counts[0], labelled + counts[1]
        return pa.table({"wrong": [wrong], "labelled": [labelled]})
