"""Losses from few labels: one file per term, and their weighted sum over all ranks."""

from weakseg.losses.channels import two_channels
from weakseg.losses.keypoint_loss import keypoint_loss, keypoint_weight
from weakseg.losses.objective import Objective, check_terms, global_mean, objective
from weakseg.losses.partial_cross_entropy import label_weight, partial_cross_entropy
from weakseg.losses.point_cross_entropy import point_cross_entropy
from weakseg.losses.proportion_loss import proportion_loss, proportion_weight
from weakseg.losses.read_grid import read_grid
from weakseg.losses.superpixel_assignment import assignment_weight, superpixel_assignment
from weakseg.losses.superpixel_consistency import consistency_weight, segments_at, superpixel_consistency
from weakseg.losses.terms import TERMS, Step, Targets, Term

__all__ = [
    "TERMS",
    "Objective",
    "Step",
    "Targets",
    "Term",
    "assignment_weight",
    "check_terms",
    "consistency_weight",
    "global_mean",
    "keypoint_loss",
    "keypoint_weight",
    "label_weight",
    "objective",
    "partial_cross_entropy",
    "point_cross_entropy",
    "proportion_loss",
    "proportion_weight",
    "read_grid",
    "segments_at",
    "superpixel_assignment",
    "superpixel_consistency",
    "two_channels",
]
