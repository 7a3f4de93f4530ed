"""Losses from few labels: one file per term, and their weighted sum over all ranks."""

from weakseg.losses.objective import TERMS, Objective, Term, global_mean, objective
from weakseg.losses.partial_cross_entropy import partial_cross_entropy
from weakseg.losses.point_cross_entropy import point_cross_entropy

__all__ = [
    "TERMS",
    "Objective",
    "Term",
    "global_mean",
    "objective",
    "partial_cross_entropy",
    "point_cross_entropy",
]
