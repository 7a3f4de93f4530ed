"""The weighted sum of loss terms, the same however images fall on ranks.

Each rank gives sums and counts; the counts are summed over ranks before anything is divided.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
import torch.distributed as dist

from weakseg.losses.terms import TERMS, Step, Targets, Term
from weakseg.models.output import Output


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
        TypeError: If the model returned something else.
        ValueError: If a term is unknown, a weight negative, none is above 0, or a term does not go with the model.
    """
    if not isinstance(output, Output):
        raise TypeError(
            f"a model must return weakseg.models.Output, came {type(output).__name__}: where it gives logits of every "
            "pixel, return Output(logits, None, (height, width))"
        )
    check_terms(weights)
    if not all(0 <= weight < math.inf for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"loss weights must be at least 0 and one of them above, came {dict(weights)}")
    step = Step(output, batch, class_weight_C)
    return {name: TERMS[name](step) for name, weight in weights.items() if weight > 0}


def check_terms(names: Iterable[str]) -> None:
    """Refuse names that are no terms with a ValueError that lists those there are."""
    unknown = set(names) - TERMS.keys()
    if unknown:
        raise ValueError(f"unknown loss term {', '.join(sorted(unknown))}; known: {', '.join(TERMS)}")


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
