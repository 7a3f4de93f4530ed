"""One epoch, step by step, and how an epoch that broke off is gone on with as if it had not."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from weakseg import losses
from weakseg.errors import DivergedError
from weakseg.training import data

STEPS_BETWEEN_CHECKS = 16
"""A GPU is asked for its losses only this often, since each question makes it wait; so is whoever may stop it."""

Rows = list[dict[str, float]]
"""Each term's mean over the batches of all ranks, per step."""


@dataclass(frozen=True)
class Step:
    """One optimiser step on one rank's batch.

    Args:
        network: The model, under DDP where there are several ranks.
        optimizer: Over its parameters.
        scheduler: Stepped with it, None = constant.
        scaler: fp16's loss scaler.
        weights: Weight of each loss term by name.
        class_weight_C: Weight of each class in the cross-entropies.
        device: Where the network is.
        autocast: The type of the forward pass, None = float32.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler | None
    scaler: torch.amp.GradScaler | None
    weights: Mapping[str, float]
    class_weight_C: Tensor | None
    device: torch.device
    autocast: torch.dtype | None

    def __call__(self, batch: data.Batch) -> dict[str, Tensor]:
        """Take the step; returns each term's mean over the batches of all ranks, on the device."""
        objective = self._objective(batch)
        if self.scaler is None:
            torch.autograd.backward(objective.loss)
            self.optimizer.step()
        else:
            torch.autograd.backward(self.scaler.scale(objective.loss))
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.scheduler is not None:
            self.scheduler.step()
        return objective.values

    def rehearse(self, batch: data.Batch) -> None:
        """Go through a step that changes nothing but how DDP groups gradients, which it does after its first.

        Another grouping rounds differently: with this before it, the first step of an epoch that goes on in its
        middle is the step that it would have been. Nothing happens without DDP.
        """
        if not isinstance(self.network, DistributedDataParallel):
            return
        buffers = [(buffer, buffer.clone()) for buffer in self.network.module.buffers()]
        torch.autograd.backward(self._objective(batch).loss)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)

    def _objective(self, batch: data.Batch) -> losses.Objective:
        batch = batch.to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            output = self.network(batch.image_B3HW)
        terms = losses.objective(output, batch, weights=self.weights, class_weight_C=self.class_weight_C)
        return losses.global_mean(terms, self.weights)


def run_epoch(
    step: Step,
    batches: Iterable[data.Batch],
    *,
    epoch: int,
    steps: int,
    before: Sequence[Mapping[str, float]] = (),
    on_steps: Callable[[Rows], None] | None = None,
) -> dict[str, float]:
    """Take the steps of an epoch.

    Args:
        step: What takes one.
        batches: Those that are left.
        epoch: The epoch's number, from 1, for what goes wrong.
        steps: How many the whole epoch has.
        before: What the steps gave that were taken before.
        on_steps: Called with all rows so far after every so many steps, but not after the last.

    Returns:
        The mean of each term over all steps, ``loss_NAME``, and ``loss``, their weighted sum.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    rows: Rows = [dict(row) for row in before]
    waiting: list[dict[str, Tensor]] = []
    patience = STEPS_BETWEEN_CHECKS if step.device.type == "cuda" else 1

    def check() -> None:
        for values in waiting:
            rows.append({name: float(value) for name, value in values.items()})
            if not all(map(math.isfinite, rows[-1].values())):
                raise DivergedError(
                    f"the loss became {rows[-1]} at epoch {epoch}, step {len(rows)}: the training has diverged; lower "
                    "the learning rate (training.lr, training.encoder_lr), or use bf16 or fp32 in place of fp16"
                )
        waiting.clear()

    for taken, batch in enumerate(batches, start=len(rows) + 1):
        waiting.append(step(batch))
        if len(waiting) >= patience:
            check()
        if on_steps is not None and taken % STEPS_BETWEEN_CHECKS == 0 and taken < steps:
            check()
            on_steps(rows)
    check()
    means = {name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}
    loss = math.fsum(step.weights[name] * mean for name, mean in means.items())
    return {"loss": loss, **{f"loss_{name}": mean for name, mean in means.items()}}
