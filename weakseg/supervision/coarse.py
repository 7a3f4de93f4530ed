"""Coarse labels as a hurried annotator would draw them, made from masks (arXiv 2510.15756)."""

import math

import numpy as np
from numpy.typing import NDArray

from weakseg.schema import VOID
from weakseg.supervision.label_errors import label_errors
from weakseg.supervision.rings import fill, outlines, perimeter, simplify


def coarsen(mask_HW: NDArray[np.uint8], *, erosion: int = 12, tolerance: float = 0.005) -> NDArray[np.uint8]:
    """Make rough polygons, well inside each region, from a mask.

    Each class is eroded by a square (the image border does not erode, void does); of each 4-connected piece
    the outline and its holes are simplified (Douglas-Peucker), each with a tolerance in proportion to its own
    length, and filled. An outline so long and thin that nothing is left of it labels nothing. Pixels that
    polygons of two classes claim stay unlabelled: the result depends on no order of the classes.

    Simplified outlines may cross into another class, or into void: see :func:`mislabelled_share`. Make coarse
    labels at the mask's original size, before any resize.

    Args:
        mask_HW: (H, W) uint8 classes, 255 = void.
        erosion: Half-width of the square in pixels, at least 0: 12 = 25x25, the paper's.
        tolerance: Distance that an outline may move, as a share of its length, at least 0. 0.005 is the
            paper's; 0 gives exactly the eroded regions.

    Returns:
        (H, W) uint8, 255 = unlabelled. Only classes that occur in the mask.

    Raises:
        ValueError: The mask is not (H, W) uint8 or has no pixel, or a number is out of range.
    """
    if mask_HW.ndim != 2 or mask_HW.dtype != np.uint8 or mask_HW.size == 0:
        raise ValueError(f"expected a (H, W) uint8 mask, got shape {mask_HW.shape} of {mask_HW.dtype}")
    if erosion < 0 or not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"expected erosion >= 0 and a finite tolerance >= 0, got {erosion} and {tolerance}")
    from scipy import ndimage  # these take a quarter of a second, which few who import this package need
    from skimage import measure

    core_HW = _erode(mask_HW, erosion)
    pieces_HW = measure.label(core_HW, background=VOID, connectivity=1)  # type: ignore[no-untyped-call]
    coarse_HW = np.full_like(mask_HW, VOID)
    disputed_HW = np.zeros(mask_HW.shape, bool)
    for number, box in enumerate(ndimage.find_objects(pieces_HW), start=1):
        piece_hw = pieces_HW[box] == number
        class_id = core_HW[box][piece_hw][0]
        rings = [simplify(ring, tolerance * perimeter(ring)) for ring in outlines(piece_hw)]
        place, inside_hw = fill(rings, piece_hw.shape)
        claimed_hw = coarse_HW[box][place]
        free_hw = claimed_hw == VOID
        disputed_HW[box][place] |= inside_hw & ~free_hw & (claimed_hw != class_id)
        claimed_hw[inside_hw & free_hw] = class_id
    coarse_HW[disputed_HW] = VOID
    return coarse_HW


def mislabelled_share(coarse_HW: NDArray[np.uint8], mask_HW: NDArray[np.uint8]) -> float:
    """Share of labelled pixels that have another class in the mask; void pixels of the mask are not counted.

    For many images add up the counts of :func:`label_errors` instead.

    Args:
        coarse_HW: (H, W) uint8 coarse labels, 255 = unlabelled.
        mask_HW: (H, W) uint8 true classes, 255 = void.

    Returns:
        0..1, or NaN if no labelled pixel has a true class.

    Raises:
        ValueError: The shapes differ.
    """
    wrong, labelled = label_errors(coarse_HW, mask_HW)
    return wrong / labelled if labelled else float("nan")


def _erode(mask_HW: NDArray[np.uint8], half: int) -> NDArray[np.uint8]:
    """Keep what is alone in its window; 255 elsewhere. All classes at once."""
    from scipy import ndimage

    # "nearest" repeats pixels that are in the window anyway: the border adds nothing.
    size = 2 * half + 1
    lowest_HW = ndimage.minimum_filter(mask_HW, size=size, mode="nearest")
    highest_HW = ndimage.maximum_filter(mask_HW, size=size, mode="nearest")
    return np.where(lowest_HW == highest_HW, mask_HW, np.uint8(VOID))
