"""A point's label spread over its superpixel."""

import numpy as np
from numpy.typing import NDArray

from weakseg.schema import VOID


def spread_labels(
    points_yx_N2: NDArray[np.generic], labels_N: NDArray[np.integer], segments_HW: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Give each labelled pixel's class to its whole segment.

    Where a segment holds points of several classes, the class with most points takes it; on a tie its pixels
    stay unlabelled. The labelled pixels themselves always keep what the annotator said. Void points (255)
    spread nothing, have no vote, and their own pixel stays unlabelled.

    Args:
        points_yx_N2: (N, 2) pixels (y, x), whole numbers of any type; of one pixel given twice the last counts.
        labels_N: (N,) classes 0..254, or 255 = void.
        segments_HW: (H, W) segment ids, -1 = no segment (padding): points there label their own pixel alone.

    Returns:
        (H, W) uint8, 255 = unlabelled.

    Raises:
        ValueError: The shapes do not fit, a point lies outside or between pixels, or a label is no class.
    """
    y_N, x_N = _pixels(points_yx_N2, segments_HW.shape)
    if segments_HW.dtype.kind not in "iu" or labels_N.dtype.kind not in "iu" or labels_N.shape != y_N.shape:
        raise ValueError(
            f"expected integer segments and one integer label per point, got {segments_HW.dtype} segments and "
            f"{labels_N.dtype} labels of shape {labels_N.shape} for {y_N.size} points"
        )
    if ((labels_N < 0) | (labels_N > VOID)).any():
        raise ValueError(f"expected classes 0..{VOID - 1} or {VOID} for void, got {labels_N.min()}..{labels_N.max()}")
    spread_HW = np.full(segments_HW.shape, VOID, np.uint8)
    if y_N.size == 0:
        return spread_HW
    pixels_HW = spread_HW.copy()
    asked_HW = np.zeros(segments_HW.shape, bool)
    pixels_HW[y_N, x_N] = labels_N
    asked_HW[y_N, x_N] = True
    inside_HW = segments_HW >= 0
    voting_HW = (pixels_HW != VOID) & inside_HW
    class_S = np.full(max(int(segments_HW.max()), 0) + 1, VOID, np.uint8)
    segment_S, winner_S = _majority(segments_HW[voting_HW].astype(np.int64), pixels_HW[voting_HW].astype(np.int64))
    class_S[segment_S] = winner_S
    spread_HW[inside_HW] = class_S[segments_HW[inside_HW]]
    spread_HW[asked_HW] = pixels_HW[asked_HW]
    return spread_HW


def _pixels(points_N2: NDArray[np.generic], size: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns, checked."""
    if points_N2.ndim != 2 or points_N2.shape[1] != 2 or len(size) != 2:
        raise ValueError(f"expected points (N, 2) and segments (H, W), got {points_N2.shape} and {size}")
    yx_N2 = points_N2.astype(np.int64)
    if (yx_N2 != points_N2).any():
        raise ValueError("expected points on pixels: whole numbers y and x")
    outside_N = ((yx_N2 < 0) | (yx_N2 >= size)).any(axis=1)
    if outside_N.any():
        y, x = yx_N2[np.argmax(outside_N)]
        raise ValueError(f"point y={y}, x={x} lies outside the segments of {size[0]}x{size[1]}")
    return yx_N2[:, 0], yx_N2[:, 1]


def _majority(segment_N: NDArray[np.int64], class_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each segment with votes, and the class with most of them; 255 on a tie."""
    pair_P, votes_P = np.unique(segment_N * VOID + class_N, return_counts=True)
    segment_P, class_P = pair_P // VOID, pair_P % VOID
    segment_S, first_S, classes_S = np.unique(segment_P, return_index=True, return_counts=True)
    if segment_S.size == 0:
        return segment_S, segment_S
    most_P = votes_P == np.repeat(np.maximum.reduceat(votes_P, first_S), classes_S)
    winners_S = np.add.reduceat(most_P.astype(np.int64), first_S)
    winner_S = np.maximum.reduceat(np.where(most_P, class_P, -1), first_S)
    return segment_S, np.where(winners_S == 1, winner_S, VOID)
