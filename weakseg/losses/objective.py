"""The weighted sum of loss terms, the same however images fall on ranks.

Each rank gives sums and counts; the counts are summed over ranks before anything is divided.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist

from weakseg.losses.partial_cross_entropy import label_weight, partial_cross_entropy
from weakseg.losses.point_cross_entropy import point_cross_entropy
from weakseg.models.output import Output, full_resolution
from weakseg.schema import VOID


class Targets(Protocol):
    """What the terms read of a training batch.

    Attributes:
        points_N3: (b, y, x) float of the labelled points.
        labels_N: Their classes.
        mask_BHW: Dense labels, 255 = none; None where masks are no supervision.
        weight_B: 0 for a repeat that only fills up a batch: its labels do not count. None = all count.
    """

    @property
    def points_N3(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def labels_N(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def mask_BHW(self) -> torch.Tensor | None: ...  # noqa: D102
    @property
    def weight_B(self) -> torch.Tensor | None: ...  # noqa: D102


class Term(NamedTuple):
    """One rank's share of a term: a sum with its graph, and the sum of weights (the count) that a mean divides by."""

    total: torch.Tensor
    weight: torch.Tensor


class Objective(NamedTuple):
    """The loss to call backward on, and each term's mean over all ranks (detached, unweighted) for logs."""

    loss: torch.Tensor
    values: dict[str, torch.Tensor]


def objective(
    output: Output,
    batch: Targets,
    *,
    weights: Mapping[str, float],
    class_weight_C: torch.Tensor | None = None,
) -> dict[str, Term]:
    """Every term with a weight above 0, as sums and counts of this rank.

    Args:
        output: What the model returned for the batch's images.
        batch: Their labels.
        weights: Weight per term, names of `TERMS`; the same on every rank.
        class_weight_C: Weight per class.

    Raises:
        ValueError: If a term is unknown, a weight negative, or none is above 0.
    """
    unknown = weights.keys() - TERMS.keys()
    if unknown:
        raise ValueError(f"unknown loss term {', '.join(sorted(unknown))}; known: {', '.join(TERMS)}")
    if not weights or min(weights.values()) < 0 or max(weights.values()) <= 0:
        raise ValueError(f"loss weights must be at least 0 and one of them above, came {dict(weights)}")
    return {name: TERMS[name](output, batch, class_weight_C) for name, weight in weights.items() if weight > 0}


def global_mean(terms: Mapping[str, Term], weights: Mapping[str, float]) -> Objective:
    """Weighted sum of the terms' means over all ranks; one all-reduce where torch.distributed is initialised.

    DDP averages gradients over ranks, so that a rank's sum is divided by the global count and multiplied by the
    number of ranks. The loss is therefore a rank's share: its mean over ranks is the loss of the whole batch, which
    `values` holds. A term without a label on any rank gives 0.

    Args:
        terms: From `objective`.
        weights: The same weights.

    Returns:
        The loss and the values.
    """
    sums_T2 = torch.stack([torch.stack([t.total.detach().double(), t.weight.double()]) for t in terms.values()])
    world = 1
    if dist.is_available() and dist.is_initialized():
        world = dist.get_world_size()
        dist.all_reduce(sums_T2)
    totals_T, weights_T = sums_T2.unbind(dim=1)
    weights_T = torch.where(weights_T > 0, weights_T, 1)
    shares = [
        weights[name] * term.total * (world / weight).to(term.total)
        for (name, term), weight in zip(terms.items(), weights_T, strict=True)
    ]
    means_T = (totals_T / weights_T).float()
    return Objective(torch.stack(shares).sum(), dict(zip(terms, means_T, strict=True)))


def _point(output: Output, batch: Targets, class_weight_C: torch.Tensor | None) -> Term:
    labels_N = batch.labels_N.long()
    if batch.weight_B is not None:
        counted_N = batch.weight_B.to(labels_N.device)[batch.points_N3[:, 0].long()] > 0
        labels_N = labels_N.where(counted_N, VOID)
    total = point_cross_entropy(
        output.logits_BChw,
        batch.points_N3,
        labels_N,
        size=output.padded_size,
        weight_C=class_weight_C,
        reduction="sum",
    )
    return Term(total, label_weight(labels_N, weight_C=class_weight_C))


def _mask(output: Output, batch: Targets, class_weight_C: torch.Tensor | None) -> Term:
    if batch.mask_BHW is None:
        # An empty slice, not a product with 0: the graph stays whole even where logits are infinite.
        total = output.logits_BChw[:0].float().sum()
        return Term(total, torch.zeros((), dtype=torch.float64, device=total.device))
    labels_BHW = batch.mask_BHW.long()
    if batch.weight_B is not None:
        labels_BHW = labels_BHW.where((batch.weight_B > 0)[:, None, None], VOID)
    logits_BCHW = full_resolution(output, (labels_BHW.shape[1], labels_BHW.shape[2]))
    total = partial_cross_entropy(logits_BCHW, labels_BHW, weight_C=class_weight_C, reduction="sum")
    return Term(total, label_weight(labels_BHW, weight_C=class_weight_C))


TERMS: dict[str, Callable[[Output, Targets, torch.Tensor | None], Term]] = {"point": _point, "mask": _mask}
