"""How many questions an image gets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.config import Config
from weakseg import seeding
from weakseg.selection import budget_per_image


def image_budgets(config: Config, image_ids: Sequence[str]) -> NDArray[np.int64]:
    """Questions per image and round, (N,): none for images outside `labelling.image_fraction`, more for the others.

    The same images are asked about in every round, and the sum does not depend on the fraction.

    Args:
        config: The run's configuration.
        image_ids: The training images.
    """
    labelling = config.labelling
    seed = seeding.integer(config.seed, "images asked")
    return budget_per_image(image_ids, labelling.pixels_per_image, labelling.image_fraction, seed=seed)
