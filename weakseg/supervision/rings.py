"""Closed polygons as arrays: simplify them, find the pixels inside; no sine, no BLAS: the same on every machine."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ring: TypeAlias = NDArray[np.float64]
"""(N, 2) vertices (y, x), an integer = a pixel's centre; the last is joined to the first, which is not repeated."""


def simplify(ring_N2: Ring, tolerance: float) -> Ring:
    """Drop vertices by Douglas and Peucker (1973) until one more would leave the outline by over the tolerance.

    A closed line has no ends to hold on to: it is held at its topmost vertex (of several the leftmost), which
    is a corner of its hull. On coordinates that are multiples of 1/2 all comparisons are exact, so that
    symmetric shapes, full of ties, come out the same everywhere.

    Args:
        ring_N2: (N, 2) vertices, N at least 1.
        tolerance: In pixels, at least 0; 0 drops only what lies on a straight line.

    Returns:
        (n, 2): some of the vertices, in their order, the held one first.
    """
    first = np.lexsort((ring_N2[:, 1], ring_N2[:, 0]))[0]
    closed = np.concatenate([ring_N2[first:], ring_N2[: first + 1]])
    kept = np.zeros(len(closed), bool)
    kept[0] = True
    pending = [(0, len(closed) - 1)]
    while pending:
        start, end = pending.pop()
        if end - start < 2:
            continue
        span = closed[end] - closed[start]
        to_start, to_end = closed[start + 1 : end] - closed[start], closed[start + 1 : end] - closed[end]
        near_start, near_end = _squared(to_start), _squared(to_end)
        length = float(span[0] ** 2 + span[1] ** 2)
        if length > 0:
            # Squared distances times the squared length: no division, no root.
            along = to_start[:, 0] * span[0] + to_start[:, 1] * span[1]
            across = (to_start[:, 0] * span[1] - to_start[:, 1] * span[0]) ** 2
            beside = np.where(along <= 0, near_start, near_end) * length
            distance = np.where((along > 0) & (along < length), across, beside)
        else:
            distance, length = near_start, 1.0
        worst = int(np.argmax(distance))
        if distance[worst] > tolerance * tolerance * length:
            middle = start + 1 + worst
            kept[middle] = True
            pending += [(start, middle), (middle, end)]
    return closed[kept]


def perimeter(ring_N2: Ring) -> float:
    """Length of the closed line, in pixels."""
    return math.fsum(np.sqrt(_squared(np.roll(ring_N2, -1, axis=0) - ring_N2)).tolist())


def outlines(piece_HW: NDArray[np.bool_]) -> list[Ring]:
    """The outline of a 4-connected piece that touches all four sides of its array, then its holes', as (y, x).

    Vertices lie half-way between pixels inside and outside.
    """
    from skimage import measure

    padded_HW = np.pad(piece_HW, 1).astype(np.float64)
    rings = [ring[:-1] - 1 for ring in measure.find_contours(padded_HW, 0.5)]  # type: ignore[no-untyped-call]
    # Only the outer one passes above the first row.
    return sorted(rings, key=lambda ring: float(ring[:, 0].min()))


def fill(rings: Sequence[Ring], size: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Find the pixels whose centre lies inside the first ring and in none of the others, its holes.

    Inside = an odd number of crossings, also where a ring crosses itself. A centre on the line counts at the
    left and top, not at the right and bottom: rings that share an edge share no pixel and leave none out.

    Args:
        rings: An outline and its holes; they may reach out of the image.
        size: (height, width) of the image.

    Returns:
        The rows and columns of the image that the outline spans, and what is inside there, bool (h, w).
    """
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    top, left = (int(v) for v in np.clip(np.ceil(low), 0, size))
    bottom, right = (int(v) for v in np.clip(np.floor(high) + 1, (top, left), size))
    inside, *holes = (_crossed_oddly(ring - (top, left), (bottom - top, right - left)) for ring in rings)
    for hole in holes:
        inside &= ~hole
    return (slice(top, bottom), slice(left, right)), inside


def _crossed_oddly(ring_N2: Ring, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels with an odd number of edges at or to the left of their centre."""
    height, width = size
    next_N2 = np.roll(ring_N2, -1, axis=0)
    # Both neighbours along an edge must compute the same crossings: every edge goes down.
    down = ring_N2[:, :1] <= next_N2[:, :1]
    upper_N2, lower_N2 = np.where(down, ring_N2, next_N2), np.where(down, next_N2, ring_N2)
    first_N, end_N = (np.clip(np.ceil(y), 0, height).astype(np.int64) for y in (upper_N2[:, 0], lower_N2[:, 0]))
    rows_N = end_N - first_N
    edge = np.repeat(np.arange(len(ring_N2)), rows_N)
    row = np.arange(edge.size) - np.repeat(np.cumsum(rows_N) - rows_N - first_N, rows_N)
    (y, x), (dy, dx) = upper_N2[edge].T, (lower_N2 - upper_N2)[edge].T
    column = np.clip(np.ceil(x + (row - y) * dx / dy), 0, width).astype(np.int64)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    odd_HW: NDArray[np.bool_] = np.bitwise_and(np.cumsum(crossings, axis=1)[:, :width], 1).astype(bool)
    return odd_HW


def _squared(vectors_N2: Ring) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = vectors_N2[:, 0] ** 2 + vectors_N2[:, 1] ** 2
    return squared
