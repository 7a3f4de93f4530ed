"""The objective over a validation set: what early stopping watches."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weakseg import losses
from weakseg.inference import evaluating
from weakseg.training import data

if TYPE_CHECKING:
    from weakseg.datasets.examples import Examples


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    examples: "Examples",
    *,
    weights: Mapping[str, float],
    class_weight_C: Tensor | None = None,
    batch_size: int,
    device: torch.device,
    autocast: torch.dtype | None = None,
    rank: int = 0,
    world: int = 1,
    classes: int | None = None,
    fill: data.Fill,
) -> float:
    """Weighted sum of the terms' means over all examples, in evaluation mode and without augmentation.

    Unlike the mean over batches, it does not depend on the batch size or the number of ranks but through rounding.

    Args:
        model: The model itself, not its DDP wrapper; the same on every rank, its buffers too.
        examples: Images and labels; the same on every rank.
        weights: Weight of each loss term by name.
        class_weight_C: Weight of each class in the cross-entropies.
        batch_size: Images per forward pass on this rank.
        device: Where the model is.
        autocast: The type of the forward pass, None = float32.
        rank: This rank, which takes every world-th example.
        world: Number of ranks.
        classes: How many the model has, None = labels are not checked.
        fill: RGB of padding in 0..1.

    Returns:
        The loss.

    Raises:
        DataError: An example has a label that is no class.
    """
    sums: dict[str, losses.Term] = {}
    mine = range(rank, len(examples), world)
    with evaluating(model):
        for start in range(0, len(mine), batch_size):
            indices = mine[start : start + batch_size]
            batch = data.plain_batch(examples, indices, classes=classes, fill=fill).to(device)
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                output = model(batch.image_B3HW)
            for name, term in losses.objective(output, batch, weights=weights, class_weight_C=class_weight_C).items():
                before = sums.get(name, losses.Term(torch.zeros_like(term.weight), torch.zeros_like(term.weight)))
                sums[name] = losses.Term(before.total + term.total.double(), before.weight + term.weight)
    for name in weights:  # a rank without an example takes part in the sum over ranks all the same
        zero = torch.zeros((), dtype=torch.float64, device=device)
        sums.setdefault(name, losses.Term(zero, zero))
    values = losses.global_mean({name: sums[name] for name in weights}, weights).values
    return float(sum(weights[name] * float(value) for name, value in values.items()))
