"""Choose a few images, and ask more of each (annotation diversity, PixelPick's eta, arXiv 2104.06394)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weakseg import seeding


def select_images(image_ids: Sequence[str], fraction: float, *, seed: int) -> NDArray[np.int64]:
    """Draw a share of the images, the same in every round.

    Each image has a random key fixed by the seed and its id; those with the smallest keys are chosen. So a larger
    fraction only adds images, and the order of the images does not matter.

    Args:
        image_ids: Unique ids.
        fraction: Share to choose, above 0 and at most 1: the ceil(fraction * N) images with the smallest keys.
        seed: The run's seed.

    Returns:
        (n,) int64 indices into ``image_ids``, ascending; at least one unless there are no images.

    Raises:
        ValueError: The fraction is out of range or an id is there twice.
    """
    return np.sort(_drawn(image_ids, fraction, seed))


def budget_per_image(
    image_ids: Sequence[str], pixels_per_image: float, fraction: float, *, seed: int
) -> NDArray[np.int64]:
    """How much to ask of each image, so that the whole costs the same whatever the fraction.

    The images that :func:`select_images` chooses get pixels_per_image / fraction each. Where that leaves a
    remainder, those with the smallest keys get one more.

    Args:
        image_ids: Unique ids of all images.
        pixels_per_image: Questions per image, mean over all images, at least 0.
        fraction: Share of the images to ask about, above 0 and at most 1.
        seed: The run's seed.

    Returns:
        (N,) int64, 0 for images that are not chosen; sums to round(pixels_per_image * N).

    Raises:
        ValueError: A number is out of range or an id is there twice.
    """
    if not 0 <= pixels_per_image < math.inf:
        raise ValueError(f"expected pixels_per_image >= 0, got {pixels_per_image}")
    budget_N = np.zeros(len(image_ids), np.int64)
    drawn = _drawn(image_ids, fraction, seed)
    if drawn.size:
        each, remainder = divmod(round(pixels_per_image * len(image_ids)), drawn.size)
        budget_N[drawn] = each
        budget_N[drawn[:remainder]] += 1
    return budget_N


def _drawn(image_ids: Sequence[str], fraction: float, seed: int) -> NDArray[np.int64]:
    """Indices of the chosen images, smallest key first."""
    if not 0 < fraction <= 1:
        raise ValueError(f"expected a fraction above 0 and at most 1, got {fraction}")
    if len(set(image_ids)) != len(image_ids):
        raise ValueError("expected every image_id once, got duplicates")
    # 0.07 * 100 is a little more than 7, and means 7.
    count = max(1, math.ceil(round(fraction * len(image_ids), 9)))
    keys = [(seeding.integer(seed, "select-images", image_id=image_id), image_id) for image_id in image_ids]
    return np.array(sorted(range(len(image_ids)), key=keys.__getitem__)[:count], np.int64)
