"""Temperature scaling: one number that makes probabilities honest (Guo et al., 2017, section 4.2)."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from weakseg.schema import VOID

TEMPERATURES = (0.05, 20.0)
"""The lowest and highest temperature that a fit gives."""

_HALVINGS = 30
"""Of the logarithm of that range, which leaves T to 8 digits."""

_ENOUGH = 1e-9
"""Slopes below this, in nats, do not tell one temperature from another."""


def sample_logits(
    logits_CHW: NDArray[np.floating] | Tensor,
    target_HW: ArrayLike | Tensor,
    count: int,
    rng: np.random.Generator,
    *,
    ignore_index: int = VOID,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw pixels of an image, each at most once: a whole split's logits are too many to hold.

    Give every image a generator of its own (:func:`weakseg.seeding.generator` with its image id), and the
    sample depends on no order.

    Args:
        logits_CHW: (C, H, W) class scores, NumPy or torch (read on the tensor's device).
        target_HW: (H, W) integer classes.
        count: How many pixels, at least 0; fewer come where fewer are not void.
        rng: Draws the pixels.
        ignore_index: Void, never drawn.

    Returns:
        (N, C) float32 logits and (N,) int64 classes, in the order of the image's pixels.

    Raises:
        ValueError: The shapes do not fit or the count is negative.
    """
    target = target_HW.detach().cpu().numpy() if isinstance(target_HW, Tensor) else np.asarray(target_HW)
    if len(logits_CHW.shape) != 3 or target.shape != tuple(logits_CHW.shape[1:]):
        raise ValueError(
            f"expected logits (C, H, W) and target (H, W), got {tuple(logits_CHW.shape)} and {target.shape}"
        )
    if count < 0:
        raise ValueError(f"expected a count >= 0, got {count}")
    known = np.flatnonzero(target != ignore_index)
    drawn_N = known[np.sort(rng.choice(known.size, min(count, known.size), replace=False, shuffle=False))]
    labels_N = target.ravel()[drawn_N].astype(np.int64)
    if isinstance(logits_CHW, Tensor):
        flat_CP = logits_CHW.detach().reshape(logits_CHW.shape[0], -1)
        logits_CN = flat_CP[:, torch.from_numpy(drawn_N).to(flat_CP.device)].float().cpu().numpy()
    else:
        logits_CN = logits_CHW.reshape(logits_CHW.shape[0], -1)[:, drawn_N].astype(np.float32)
    return np.ascontiguousarray(logits_CN.T), labels_N


def fit_temperature(logits_NC: ArrayLike | Tensor, labels_N: ArrayLike | Tensor) -> float:
    """Find the temperature T at which softmax(logits / T) makes the labels most likely.

    The mean negative log-likelihood is convex in 1/T; its slope, the mean over samples of (expected logit
    under the softmax minus the true class's logit), rises with 1/T. Its root is found by halving, in float64:
    nothing can go astray, and the same samples give the same T.

    Args:
        logits_NC: (N, C) class scores of held-out pixels; C = 1 is the sigmoid case.
        labels_N: (N,) their classes.

    Returns:
        T within :data:`TEMPERATURES`: above 1 where the model is too sure, below where it is too careful. The
        lowest where every label has the highest logit, the highest where logits and labels go against each
        other. 1.0 where nothing can be learned: no sample, or no temperature is better than another (logits
        that are the same for all classes, or so far apart that all probabilities are 0 and 1).

    Raises:
        ValueError: The shapes do not fit, logits are not finite, or a label is no class.
    """
    logits, labels = _array(logits_NC).astype(np.float64), _array(labels_N)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"expected logits (N, C) and integer labels (N,), got {logits.shape} and {labels.dtype} {labels.shape}"
        )
    if labels.size == 0:
        return 1.0
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits")
    if logits.shape[1] == 1:
        logits = np.pad(logits, ((0, 0), (1, 0)))
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"expected labels 0..{logits.shape[1] - 1}, got {labels.min()}..{labels.max()}")
    logits -= logits.max(axis=1, keepdims=True)
    true_N = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)[:, 0]

    def slope(log_temperature: float) -> float:
        weights_NC = np.exp(logits * np.exp(-log_temperature))
        expected_N = (weights_NC * logits).sum(axis=1) / weights_NC.sum(axis=1)
        return float((expected_N - true_N).mean())

    low, high = np.log(TEMPERATURES)
    sharpest, flattest = slope(low), slope(high)
    if abs(sharpest) < _ENOUGH and abs(flattest) < _ENOUGH:
        return 1.0
    # The slope is largest at the lowest temperature: without a root between, the best is at an end.
    if sharpest <= 0:
        return TEMPERATURES[0]
    if flattest >= 0:
        return TEMPERATURES[1]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def _array(values: ArrayLike | Tensor) -> NDArray[np.generic]:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    # NumPy has no bfloat16.
    return (values.double() if values.is_floating_point() else values).numpy()
