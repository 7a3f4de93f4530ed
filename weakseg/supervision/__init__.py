"""Cheap supervision: labels of single pixels, who answers them and what they cost."""

from weakseg.supervision.cost import SECONDS, annotation_seconds, masks_seconds
from weakseg.supervision.oracle import answer, answer_id
from weakseg.supervision.points import PointIndex, current

__all__ = ["SECONDS", "PointIndex", "annotation_seconds", "answer", "answer_id", "current", "masks_seconds"]
