"""How well predicted boundaries follow the true ones (arXiv 2510.15756, see also Martin et al., 2004)."""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


@dataclass(frozen=True)
class BoundaryCounts:
    """Boundary pixels of one image or, added up, of many. Integers: sums are exact in any order.

    Attributes:
        predicted: Boundary pixels of the prediction.
        predicted_near: Those within the radius of a true boundary pixel.
        true: Boundary pixels of the truth.
        true_near: Those within the radius of a predicted boundary pixel.
    """

    predicted: int = 0
    predicted_near: int = 0
    true: int = 0
    true_near: int = 0

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        """Add up field by field; ``sum(counts, BoundaryCounts())`` adds many."""
        return BoundaryCounts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def boundary_counts(
    prediction_HW: ArrayLike | Tensor,
    target_HW: ArrayLike | Tensor,
    *,
    radius: int | None = None,
    ignore_index: int = 255,
) -> BoundaryCounts:
    """Count the boundary pixels of a prediction and of the truth, and those near the other's.

    A boundary pixel has a 4-neighbour of another label, neither of them void; both sides count. Where the
    truth is void the prediction is taken as void too: nothing can be said about it there. Near = within a
    window of (2 radius + 1)^2.

    Args:
        prediction_HW: (H, W) integer classes, NumPy or torch.
        target_HW: (H, W) integer classes.
        radius: Pixels, at least 0. None = max(1, floor(0.0025 * diagonal + 0.5)) of this image.
        ignore_index: Void.

    Returns:
        Counts that add up over images.

    Raises:
        ValueError: The shapes differ or are not (H, W), or the radius is negative.
    """
    prediction, target = _integers(prediction_HW), _integers(target_HW)
    if prediction.ndim != 2 or prediction.shape != target.shape:
        raise ValueError(f"expected prediction and target (H, W), got {prediction.shape} and {target.shape}")
    if radius is None:
        radius = max(1, math.floor(0.0025 * math.hypot(*target.shape) + 0.5))
    if radius < 0:
        raise ValueError(f"expected a radius >= 0, got {radius}")
    known_HW = target != ignore_index
    true_HW = _boundary(target, known_HW)
    predicted_HW = _boundary(prediction, known_HW & (prediction != ignore_index))
    return BoundaryCounts(
        predicted=int(predicted_HW.sum()),
        predicted_near=int((predicted_HW & _dilate(true_HW, radius)).sum()),
        true=int(true_HW.sum()),
        true_near=int((true_HW & _dilate(predicted_HW, radius)).sum()),
    )


def boundary_recall(
    prediction: BoundaryCounts | ArrayLike | Tensor,
    target_HW: ArrayLike | Tensor | None = None,
    *,
    radius: int | None = None,
    ignore_index: int = 255,
) -> float:
    """Share of true boundary pixels that have a predicted one near.

    Args:
        prediction: Counts, or an (H, W) prediction together with ``target_HW``.
        target_HW: (H, W) truth, where the first argument is a prediction.
        radius: As in :func:`boundary_counts`.
        ignore_index: As in :func:`boundary_counts`.

    Returns:
        0..1, or NaN if the truth has no boundary.
    """
    counts = _counts(prediction, target_HW, radius, ignore_index)
    return _share(counts.true_near, counts.true)


def boundary_precision(
    prediction: BoundaryCounts | ArrayLike | Tensor,
    target_HW: ArrayLike | Tensor | None = None,
    *,
    radius: int | None = None,
    ignore_index: int = 255,
) -> float:
    """Share of predicted boundary pixels that have a true one near.

    Args:
        prediction: Counts, or an (H, W) prediction together with ``target_HW``.
        target_HW: (H, W) truth, where the first argument is a prediction.
        radius: As in :func:`boundary_counts`.
        ignore_index: As in :func:`boundary_counts`.

    Returns:
        0..1, or NaN if the prediction has no boundary.
    """
    counts = _counts(prediction, target_HW, radius, ignore_index)
    return _share(counts.predicted_near, counts.predicted)


def boundary_f1(
    prediction: BoundaryCounts | ArrayLike | Tensor,
    target_HW: ArrayLike | Tensor | None = None,
    *,
    radius: int | None = None,
    ignore_index: int = 255,
) -> float:
    """Harmonic mean of boundary precision and recall.

    Args:
        prediction: Counts, or an (H, W) prediction together with ``target_HW``.
        target_HW: (H, W) truth, where the first argument is a prediction.
        radius: As in :func:`boundary_counts`.
        ignore_index: As in :func:`boundary_counts`.

    Returns:
        0..1: 0 if only one of the two has a boundary, NaN if neither has.
    """
    counts = _counts(prediction, target_HW, radius, ignore_index)
    if counts.predicted == 0 or counts.true == 0:
        return float("nan") if counts.predicted == counts.true else 0.0
    precision, recall = boundary_precision(counts), boundary_recall(counts)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_recall_paper(
    prediction: BoundaryCounts | ArrayLike | Tensor,
    target_HW: ArrayLike | Tensor | None = None,
    *,
    radius: int | None = None,
    ignore_index: int = 255,
) -> float:
    """Boundary recall as arXiv 2510.15756 defines it: TP / (TP + FN).

    FN are true boundary pixels without a predicted one near, but TP are PREDICTED boundary pixels near a true
    one: a prediction with more boundary scores higher. Read it next to precision and F1.

    Args:
        prediction: Counts, or an (H, W) prediction together with ``target_HW``.
        target_HW: (H, W) truth, where the first argument is a prediction.
        radius: As in :func:`boundary_counts`.
        ignore_index: As in :func:`boundary_counts`.

    Returns:
        0..1, or NaN if there is neither TP nor FN.
    """
    counts = _counts(prediction, target_HW, radius, ignore_index)
    return _share(counts.predicted_near, counts.predicted_near + counts.true - counts.true_near)


def _counts(
    prediction: BoundaryCounts | ArrayLike | Tensor,
    target_HW: ArrayLike | Tensor | None,
    radius: int | None,
    ignore_index: int,
) -> BoundaryCounts:
    """Counts as they are, or made from two maps."""
    if isinstance(prediction, BoundaryCounts):
        if target_HW is not None or radius is not None:
            raise ValueError("counts are already made: give neither a target nor a radius with them")
        return prediction
    if target_HW is None:
        raise ValueError("expected a target with the prediction, or BoundaryCounts alone")
    return boundary_counts(prediction, target_HW, radius=radius, ignore_index=ignore_index)


def _integers(labels: ArrayLike | Tensor) -> NDArray[np.generic]:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype.kind not in "iub":
        raise ValueError(f"expected integer classes, got {array.dtype}")
    return array


def _boundary(labels_HW: NDArray[np.generic], known_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with a known 4-neighbour of another label."""
    boundary_HW = np.zeros(labels_HW.shape, bool)
    for one, other in (((slice(1, None),), (slice(None, -1),)), ((..., slice(1, None)), (..., slice(None, -1)))):
        edge = (labels_HW[one] != labels_HW[other]) & known_HW[one] & known_HW[other]
        boundary_HW[one] |= edge
        boundary_HW[other] |= edge
    return boundary_HW


def _dilate(mask_HW: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """All pixels within a window of (2 radius + 1)^2 around a marked one: along one axis, then the other."""
    for axis in (0, 1):
        source = np.moveaxis(mask_HW, axis, 0)
        wide = source.copy()
        for shift in range(1, min(radius, source.shape[0] - 1) + 1):
            wide[shift:] |= source[:-shift]
            wide[:-shift] |= source[shift:]
        mask_HW = np.moveaxis(wide, 0, axis)
    return mask_HW


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
