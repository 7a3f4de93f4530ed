"""Metrics as integer counts: sums over images, batches and workers are exact in any order."""

from weakseg.metrics.boundary import (
    BoundaryCounts,
    boundary_counts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    boundary_recall_paper,
)
from weakseg.metrics.confusion import Scores, confusion_matrix, scores

__all__ = [
    "BoundaryCounts",
    "Scores",
    "boundary_counts",
    "boundary_f1",
    "boundary_precision",
    "boundary_recall",
    "boundary_recall_paper",
    "confusion_matrix",
    "scores",
]
