"""Means over segments, with gradient."""

import torch
from torch import Tensor


def segment_mean(values_BCHW: Tensor, segments_BHW: Tensor) -> Tensor:
    """Replace every pixel's values by the mean over its segment.

    The gradient flows through the mean. Sums are formed in float32 at least, also under autocast.

    Args:
        values_BCHW: (B, C, H, W) floating point.
        segments_BHW: (B, H, W) integer segment ids. Ids need not be contiguous, and the same id in two
            images of a batch means two segments. Below 0 = no segment (padding).

    Returns:
        (B, C, H, W) of the values' dtype. Where there is no segment the values come back unchanged, so that
        their distance from "their mean", and its gradient, is exactly zero.

    Raises:
        ValueError: The shapes do not fit or the ids are not integers.
    """
    if values_BCHW.ndim != 4 or segments_BHW.shape != (values_BCHW.shape[0], *values_BCHW.shape[2:]):
        raise ValueError(
            f"expected values (B, C, H, W) and segments (B, H, W), "
            f"got {tuple(values_BCHW.shape)} and {tuple(segments_BHW.shape)}"
        )
    if segments_BHW.is_floating_point() or segments_BHW.is_complex() or segments_BHW.dtype == torch.bool:
        raise ValueError(f"expected integer segment ids, got {segments_BHW.dtype}")
    if values_BCHW.numel() == 0:
        return values_BCHW
    images, channels = values_BCHW.shape[:2]
    dtype = torch.promote_types(values_BCHW.dtype, torch.float32)
    segments_BHW = segments_BHW.to(values_BCHW.device, torch.int64).clamp_min(-1)
    largest = int(segments_BHW.max())
    if largest >= segments_BHW.numel():  # a slot for every number up to it would take too much memory
        ids_S, place_BHW = torch.unique(segments_BHW, return_inverse=True)
        segments_BHW = torch.where(segments_BHW < 0, -1, place_BHW)
        largest = len(ids_S) - 1
    # Each image has slots of its own; its first collects the padding and its mean is never read.
    slots = largest + 2
    first_B11 = torch.arange(images, device=values_BCHW.device).view(-1, 1, 1) * slots
    slot_N = (first_B11 + segments_BHW + 1).flatten()
    # Pixel by pixel with the channels side by side: faster than one scatter per channel.
    values_NC = values_BCHW.permute(0, 2, 3, 1).reshape(-1, channels).to(dtype)
    sums_SC = torch.zeros(images * slots, channels, dtype=dtype, device=values_BCHW.device)
    sums_SC = sums_SC.index_add(0, slot_N, values_NC)
    counts_S = torch.bincount(slot_N, minlength=images * slots).clamp_min(1).to(dtype)
    means_NC = (sums_SC / counts_S.unsqueeze(1)).index_select(0, slot_N).to(values_BCHW.dtype)
    means_BCHW = means_NC.view(images, *values_BCHW.shape[2:], channels).permute(0, 3, 1, 2)
    return torch.where(segments_BHW.unsqueeze(1) < 0, values_BCHW, means_BCHW)
