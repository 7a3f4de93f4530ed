"""The confusion matrix and what is read from it."""

from typing import TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


class Scores(TypedDict):
    """Scores of a confusion matrix; arrays are (C,) float64, NaN = undefined."""

    miou: float
    iou: NDArray[np.float64]
    f1: NDArray[np.float64]
    pixel_accuracy: float
    mean_accuracy: float


def confusion_matrix(
    prediction: ArrayLike | Tensor, target: ArrayLike | Tensor, classes: int, *, ignore_index: int = 255
) -> NDArray[np.int64]:
    """Count pixels per (true class, predicted class). Matrices of several images add up.

    Args:
        prediction: Integer classes of any shape, NumPy or torch (counted on the device of the first that is a tensor).
        target: The same shape; ``ignore_index`` = not counted.
        classes: Number of classes; 1 is the sigmoid case and gives 2x2.
        ignore_index: The value of the target that is left out.

    Returns:
        (C, C) int64, rows = truth, columns = prediction.

    Raises:
        ValueError: The shapes differ, values are not integers, or a value that counts is not a class.
    """
    count = max(classes, 2)
    if isinstance(target, Tensor) or isinstance(prediction, Tensor):
        device = next(given.device for given in (prediction, target) if isinstance(given, Tensor))
        predicted_t, true_t = torch.as_tensor(prediction, device=device), torch.as_tensor(target, device=device)
        _check(
            tuple(predicted_t.shape), tuple(true_t.shape), predicted_t.is_floating_point() or true_t.is_floating_point()
        )
        counted_t = true_t != ignore_index
        predicted_t, true_t = predicted_t[counted_t].long(), true_t[counted_t].long()
        if true_t.numel():
            _check_range("prediction", int(predicted_t.min()), int(predicted_t.max()), count)
            _check_range("target", int(true_t.min()), int(true_t.max()), count)
        flat = torch.bincount(true_t * count + predicted_t, minlength=count * count).cpu().numpy()
    else:
        predicted, true = np.asarray(prediction), np.asarray(target)
        _check(predicted.shape, true.shape, predicted.dtype.kind not in "iub" or true.dtype.kind not in "iub")
        counted = true != ignore_index
        predicted, true = predicted[counted], true[counted]
        if true.size:
            _check_range("prediction", int(predicted.min()), int(predicted.max()), count)
            _check_range("target", int(true.min()), int(true.max()), count)
        flat = np.bincount(true.astype(np.int64) * count + predicted.astype(np.int64), minlength=count * count)
    return flat.reshape(count, count).astype(np.int64)


def scores(confusion: ArrayLike) -> Scores:
    """Read the usual scores from a confusion matrix.

    A class that occurs neither in the truth nor in the prediction has no IoU and no F1: both are NaN and left
    out of the mean. A class that is only ever predicted counts with IoU 0.

    Args:
        confusion: (C, C) counts, rows = truth.

    Returns:
        ``iou`` TP / (TP + FP + FN) and ``f1`` 2 TP / (2 TP + FP + FN) per class; ``miou`` mean of ``iou`` over the
        classes that occur in truth or prediction; ``pixel_accuracy``; ``mean_accuracy`` mean recall over the
        classes that occur in the truth. NaN where nothing was counted.

    Raises:
        ValueError: Not a square matrix.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"expected a square confusion matrix, got {counts.shape}")
    hits_C, true_C, predicted_C = counts.diagonal(), counts.sum(1), counts.sum(0)
    iou_C = _ratio(hits_C, true_C + predicted_C - hits_C)
    return Scores(
        miou=_mean(iou_C),
        iou=iou_C,
        f1=_ratio(2 * hits_C, true_C + predicted_C),
        pixel_accuracy=float(hits_C.sum() / counts.sum()) if counts.sum() else float("nan"),
        mean_accuracy=_mean(_ratio(hits_C, true_C)),
    )


def _check(predicted: tuple[int, ...], true: tuple[int, ...], not_integers: bool) -> None:
    if predicted != true:
        raise ValueError(f"expected prediction and target of one shape, got {predicted} and {true}")
    if not_integers:
        raise ValueError("expected integer classes in prediction and target")


def _check_range(name: str, low: int, high: int, count: int) -> None:
    if low < 0 or high >= count:
        raise ValueError(f"expected classes 0..{count - 1} in the {name}, got {low}..{high}")


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Element by element; NaN where the divisor is 0."""
    ratio: NDArray[np.float64] = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of those that are not NaN; NaN if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
