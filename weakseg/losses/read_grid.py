"""Every second (or n-th) pixel of upsampled logits, without upsampling the rest."""

import torch

from weakseg.losses.partial_cross_entropy import in_float32


def read_grid(logits_BChw: torch.Tensor, *, size: tuple[int, int], step: int = 2) -> torch.Tensor:
    """Logits at the pixels of a regular grid as bilinear upsampling (align_corners=False) to `size` gives them.

    For terms that average over pixels, such as `superpixel_consistency` and `proportion_loss`: upsampling and softmax
    at full resolution are nearly all that they cost, and every second row and column gives the same mean within 1 %
    at less than a quarter of it. The head's own grid does not: a superpixel is only a few of its cells large.

    Args:
        logits_BChw: `head_logits(output)`: class scores before bilinear upsampling.
        size: `output.padded_size`: (height, width) in pixels that they cover, padding included.
        step: Distance of the grid's rows and columns in pixels, at least 1.

    Returns:
        logits_BCHW of rows 0, step, 2 step, ... and the same columns of the upsampled map, in float32 (float64 if the
        logits are). Maps of pixels go with it as `map_BHW[:, ::step, ::step]`; one that lacks the padding on the right
        and below goes with as many of the first rows and columns.

    Raises:
        ValueError: If the logits are not BChw, or size or step are below 1.
    """
    if logits_BChw.ndim != 4 or min(*size, step) < 1:
        came = f"{tuple(logits_BChw.shape)}, {size}, {step}"
        raise ValueError(f"expected logits BChw, size and step at least 1, came {came}")
    if logits_BChw.shape[2:] == size:
        return in_float32(logits_BChw[..., ::step, ::step])
    # Two small matrix products, one per axis; under autocast they would run in half precision.
    with torch.autocast(logits_BChw.device.type, enabled=False):
        logits_BChw = in_float32(logits_BChw)
        rows_Hh, columns_Ww = (
            _interpolation(pixels, cells, step, logits_BChw)
            for pixels, cells in zip(size, logits_BChw.shape[2:], strict=True)
        )
        return rows_Hh @ logits_BChw @ columns_Ww.T


def _interpolation(pixels: int, cells: int, step: int, like: torch.Tensor) -> torch.Tensor:
    """One row per pixel of the grid along an axis: the share of each cell in it."""
    centre_P = torch.arange(0, pixels, step, device=like.device, dtype=torch.float64)
    source_P = ((centre_P + 0.5) * (cells / pixels) - 0.5).clamp(0, cells - 1)
    distance_PK = (source_P[:, None] - torch.arange(cells, device=like.device)).abs()
    return (1 - distance_PK).clamp(min=0).to(like.dtype)
