"""The baseline of every acquisition function: chance."""

from collections.abc import Sequence

import torch
from torch import Tensor


def random_scores(shape_BHW: Sequence[int], *, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform scores: asking first where they are high asks at random.

    Args:
        shape_BHW: Images, height and width.
        generators: One CPU generator per image, so that an image's scores do not depend on its batch.

    Returns:
        (B, H, W) float32 in [0, 1), on the CPU.

    Raises:
        ValueError: Not three sizes, or not one generator per image.
    """
    if len(shape_BHW) != 3:
        raise ValueError(f"expected a shape (B, H, W), got {tuple(shape_BHW)}")
    images, height, width = shape_BHW
    if len(generators) != images:
        raise ValueError(f"expected one generator per image, {images}, got {len(generators)}")
    scores_BHW = torch.empty(images, height, width, dtype=torch.float32)
    for scores_HW, generator in zip(scores_BHW, generators, strict=True):
        scores_HW.uniform_(generator=generator)
    return scores_BHW
