"""The loss from how much of each class an image holds, whatever lies where."""

import torch

from weakseg.losses.partial_cross_entropy import Reduction, check_reduction, in_float32


def proportion_loss(
    probs_BCHW: torch.Tensor,
    proportions_BC: torch.Tensor,
    *,
    valid_BHW: torch.Tensor | None = None,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Squared distance between an image's class proportions and its mean probabilities (SPSS, 2305.15608, Eq. 1).

    Args:
        probs_BCHW: Probabilities in 0..1: softmax over C classes, or sigmoid for the one-channel case.
        proportions_BC: The share of each class in the whole image, in 0..1; a row of NaN = none is known. One channel:
            the foreground's share.
        valid_BHW: True (or not 0) where a pixel's prediction counts: in the image, not in padding. None = everywhere.
            An image without such a pixel counts as one without proportions. Proportions counted in a mask leave its
            void out, predictions there count all the same, as they do for a person's estimate: where a mask says
            what is void, leave it out here.
        reduction: "mean" over images that have proportions, or "sum".

    Returns:
        A scalar in float32 (float64 if the probabilities are); 0 with a graph if no image has proportions.

    Raises:
        ValueError: If shapes do not go together, the reduction is unknown, or a row is NaN in part (on the CPU; on
            CUDA, where asking would make the host wait, the loss is NaN).
    """
    check_reduction(reduction)
    if probs_BCHW.ndim != 4 or proportions_BC.shape != probs_BCHW.shape[:2]:
        came = f"{tuple(probs_BCHW.shape)}, {tuple(proportions_BC.shape)}"
        raise ValueError(f"probabilities must be BCHW and proportions BC of one B and C, came {came}")
    if valid_BHW is not None and valid_BHW.shape != probs_BCHW.shape[:1] + probs_BCHW.shape[2:]:
        raise ValueError(f"valid must be BHW of {tuple(probs_BCHW.shape)}, came {tuple(valid_BHW.shape)}")
    probs_BCHW = in_float32(probs_BCHW)
    unknown_BC = proportions_BC.isnan()
    if not unknown_BC.is_cuda and bool((unknown_BC.any(1) & ~unknown_BC.all(1)).any()):
        partly = int((unknown_BC.any(1) & ~unknown_BC.all(1)).nonzero()[0])
        raise ValueError(
            f"a row of proportions must be all numbers or, where none are known, all NaN, "
            f"came {proportions_BC[partly].tolist()} for image {partly} of the batch"
        )
    if valid_BHW is None:
        pooled_BC = probs_BCHW.mean(dim=(2, 3))
    else:
        inside_BHW = valid_BHW.to(torch.bool)
        count_B = inside_BHW.sum(dim=(1, 2)).clamp(min=1)
        pooled_BC = torch.where(inside_BHW[:, None], probs_BCHW, 0).sum(dim=(2, 3)) / count_B[:, None]
    known_B = _known(proportions_BC, valid_BHW)
    # The difference is masked, not the square: the gradient of NaN squared would be NaN even where it is not chosen.
    distance_BC = torch.where(known_B[:, None], proportions_BC.to(pooled_BC) - pooled_BC, 0)
    total = distance_BC.square().sum()
    return total if reduction == "sum" else total / known_B.sum().clamp(min=1)


def proportion_weight(proportions_BC: torch.Tensor, *, valid_BHW: torch.Tensor | None = None) -> torch.Tensor:
    """What the mean of `proportion_loss` divides by: the number of images that have proportions; a float64 scalar."""
    return _known(proportions_BC, valid_BHW).sum(dtype=torch.float64)


def _known(proportions_BC: torch.Tensor, valid_BHW: torch.Tensor | None) -> torch.Tensor:
    """Which images count."""
    known_B = ~proportions_BC.isnan().all(dim=1)
    return known_B if valid_BHW is None else known_B & valid_BHW.to(torch.bool).flatten(1).any(dim=1)
