"""Metrics as integer counts: sums over images, batches and workers are exact in any order."""

from weakseg.metrics.assignment import AssignmentCounts, assignment_accuracy, assignment_counts
from weakseg.metrics.boundary import (
    BoundaryCounts,
    boundary_counts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    boundary_recall_paper,
)
from weakseg.metrics.calibration import (
    CalibrationCounts,
    Reliability,
    calibration_counts,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from weakseg.metrics.confusion import Scores, confusion_matrix, scores
from weakseg.metrics.pareto import pareto_front
from weakseg.metrics.superpixel import (
    SuperpixelCounts,
    achievable_accuracy,
    segment_boundary_counts,
    superpixel_counts,
    undersegmentation_error,
)
from weakseg.metrics.temperature import TEMPERATURES, fit_temperature, sample_logits

__all__ = [
    "TEMPERATURES",
    "AssignmentCounts",
    "BoundaryCounts",
    "CalibrationCounts",
    "Reliability",
    "Scores",
    "SuperpixelCounts",
    "achievable_accuracy",
    "assignment_accuracy",
    "assignment_counts",
    "boundary_counts",
    "boundary_f1",
    "boundary_precision",
    "boundary_recall",
    "boundary_recall_paper",
    "calibration_counts",
    "confusion_matrix",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "pareto_front",
    "reliability",
    "sample_logits",
    "scores",
    "segment_boundary_counts",
    "superpixel_counts",
    "undersegmentation_error",
]
