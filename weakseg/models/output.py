"""What a model returns, and its way to full resolution."""

from typing import NamedTuple

import torch
import torch.nn.functional as F


class Output(NamedTuple):
    """A model's answer at its head's own resolution.

    Attributes:
        logits_BChw: Class scores before the softmax.
        assignments: Learned superpixel assignments for the upsampling; None = bilinear.
        padded_size: (height, width) of the input after padding, in pixels: what `logits_BChw` covers.
    """

    logits_BChw: torch.Tensor
    assignments: tuple[torch.Tensor, ...] | None
    padded_size: tuple[int, int]


def full_resolution(output: Output, size: tuple[int, int]) -> torch.Tensor:
    """Upsample an output to its padded size (bilinear, align_corners=False), then crop to the image.

    Args:
        output: What the model returned.
        size: (height, width) of the image that went in, at most `output.padded_size`.

    Returns:
        logits_BCHW of that size, in the dtype of the output's logits.

    Raises:
        ValueError: If `size` does not fit into the padded size.
    """
    height, width = size
    padded_height, padded_width = output.padded_size
    if not (0 < height <= padded_height and 0 < width <= padded_width):
        raise ValueError(f"size must lie within the padded size {output.padded_size}, came {size}")
    if output.assignments is not None:
        raise ValueError("assignments must be None: only bilinear upsampling is known")
    logits_BCHW = output.logits_BChw
    if logits_BCHW.shape[-2:] != output.padded_size:
        logits_BCHW = F.interpolate(logits_BCHW, size=output.padded_size, mode="bilinear", align_corners=False)
    return logits_BCHW[..., :height, :width]
