"""Keypoints: a few clicks per class, each dilated by a disc (SPSS+, arXiv 2305.15608 version 1)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weakseg.schema import VOID


def sample_keypoints(
    mask_HW: NDArray[np.integer], per_class: int, *, radius: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw keypoints of every class that occurs, as an annotator would click them.

    Centres are drawn uniformly over a class's pixels, without repetition. Of a disc only those pixels are labelled
    that the mask says are of its class: a keypoint is OF its class in the paper's loss, and who clicks keeps the disc
    within the object. No label is therefore wrong, and discs of two classes never compete for a pixel.

    Args:
        mask_HW: Class indices, 255 = void.
        per_class: Keypoints per class that occurs, at least 1; fewer where a class has fewer pixels.
        radius: Of the disc around each, in pixels, at least 0; 0 = the pixel alone.
        rng: Where they lie.

    Returns:
        (H, W) uint8: the class at keypoints, 255 elsewhere.

    Raises:
        ValueError: The mask is not (H, W) integers in 0..255, or a number is out of range.
    """
    if mask_HW.ndim != 2 or mask_HW.dtype.kind not in "iu":
        raise ValueError(f"expected a mask (H, W) of integers, got {mask_HW.shape} of {mask_HW.dtype}")
    mask_N = mask_HW.ravel()
    if mask_N.size and not (mask_N.min() >= 0 and mask_N.max() <= VOID):
        raise ValueError(f"expected classes in 0..{VOID}, got {mask_N.min()}..{mask_N.max()}")
    if per_class < 1:
        raise ValueError(f"expected per_class >= 1, got {per_class}")
    _check_radius(radius)
    labels_HW = np.full(mask_HW.shape, VOID, np.uint8)
    for class_id in np.flatnonzero(np.bincount(mask_N, minlength=VOID)[:VOID]):
        places = np.flatnonzero(mask_N == class_id)
        chosen = rng.choice(places, min(per_class, places.size), replace=False)
        centres_K2 = np.stack(np.unravel_index(chosen, mask_HW.shape), axis=1).astype(np.float64)
        y_M, x_M, _, _ = _discs(centres_K2, mask_HW.shape, radius)
        own_M = mask_HW[y_M, x_M] == class_id
        labels_HW[y_M[own_M], x_M[own_M]] = class_id
    return labels_HW


def keypoints_from_points(
    points_N2: ArrayLike, labels_N: ArrayLike, size: tuple[int, int], *, radius: float
) -> NDArray[np.uint8]:
    """Dilate labelled points, such as those of the label table, by discs.

    Where discs overlap the nearest point decides, of equally near ones the later. No mask is looked at: a disc may
    reach past its object.

    Args:
        points_N2: (y, x) in pixels, an integer = a pixel's centre.
        labels_N: Class of each; void (255) keeps its surroundings unlabelled where it is the nearest.
        size: (height, width) of the image.
        radius: Of the disc around each, in pixels, at least 0; 0 = the pixel alone.

    Returns:
        (H, W) uint8: the class at keypoints, 255 elsewhere.

    Raises:
        ValueError: A point lies outside the image, a label is no integer of 0..255, or shapes do not go together.
    """
    points_N2, labels_N = np.asarray(points_N2, np.float64), np.asarray(labels_N)
    if points_N2.size == 0:
        points_N2 = points_N2.reshape(0, 2)
    if points_N2.ndim != 2 or points_N2.shape[1] != 2 or labels_N.shape != points_N2.shape[:1]:
        raise ValueError(f"expected points (N, 2) of (y, x) and N labels, got {points_N2.shape} and {labels_N.shape}")
    _check_radius(radius)
    inside_N = ((points_N2 >= -0.5) & (points_N2 < np.asarray(size) - 0.5)).all(axis=1)
    if not inside_N.all():
        y, x = points_N2[np.argmin(inside_N)]
        raise ValueError(
            f"keypoint at y={y:g}, x={x:g} lies outside the image of {size[0]}x{size[1]} "
            f"({(~inside_N).sum()} of {inside_N.size} do): the labels belong to other images"
        )
    if labels_N.size and labels_N.dtype.kind not in "iu":
        raise ValueError(f"expected integer labels, got {labels_N.dtype}")
    if labels_N.size and not (0 <= labels_N.min() and labels_N.max() <= VOID):
        raise ValueError(f"expected labels in 0..{VOID}, got {labels_N.min()}..{labels_N.max()}")
    y_M, x_M, point_M, distance_M = _discs(points_N2, size, radius)
    # Written farthest first, earliest first among equals: of several values for a pixel NumPy keeps the last.
    order_M = np.lexsort((point_M, -distance_M))
    labels_HW = np.full(size, VOID, np.uint8)
    labels_HW[y_M[order_M], x_M[order_M]] = labels_N[point_M[order_M]]
    return labels_HW


def _check_radius(radius: float) -> None:
    if not 0 <= radius < np.inf:
        raise ValueError(f"expected a radius of at least 0, in pixels, got {radius}")


def _discs(
    points_N2: NDArray[np.float64], size: tuple[int, ...], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Every pixel of every disc: y, x, which point, and its squared distance.

    A disc holds the pixels whose centre is no farther than the radius, and always the one that the point lies in.
    """
    reach = int(radius + 0.5)
    steps = np.arange(-reach, reach + 1)
    offsets_K2 = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    own_N2 = np.floor(points_N2 + 0.5)
    pixels_NK2 = own_N2[:, None] + offsets_K2
    distance_NK = np.square(pixels_NK2 - points_N2[:, None]).sum(axis=2)
    in_disc_NK = (distance_NK <= radius**2) | (offsets_K2 == 0).all(axis=1)
    in_image_NK = ((pixels_NK2 >= 0) & (pixels_NK2 < np.asarray(size))).all(axis=2)
    point_M, offset_M = np.nonzero(in_disc_NK & in_image_NK)
    y_M, x_M = pixels_NK2[point_M, offset_M].astype(np.int64).T
    return y_M, x_M, point_M, distance_NK[point_M, offset_M]
