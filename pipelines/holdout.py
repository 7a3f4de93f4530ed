"""Which images are kept aside to estimate the accuracy on, where no image has a mask."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weakseg import seeding
from weakseg.errors import DataError
from weakseg.selection import select_images

_FEW = 5
"""So few groups cannot be shared out: then single images are."""


def held_out(image_ids: Sequence[str], groups: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Draw the images that are held out, whole groups where there are enough.

    Args:
        image_ids: Of the training split.
        groups: What each belongs to, such as its source image.
        share: The share to hold out.
        seed: The run's seed.

    Returns:
        (N,) True where an image is held out.

    Raises:
        DataError: Nothing would be left to train on, or nothing held out.
    """
    units = list(groups) if len(set(groups)) >= _FEW else list(image_ids)
    names = list(dict.fromkeys(units))
    chosen = {names[i] for i in select_images(names, share, seed=seeding.integer(seed, "holdout"))} if names else set()
    held_N = np.array([unit in chosen for unit in units], bool)
    if held_N.size and held_N.all():
        raise DataError(
            f"labelling.holdout: {len(image_ids)} image(s) without masks cannot be divided into images to train on and "
            "images to estimate the accuracy on; have more images, or set it to 0"
        )
    return held_N
