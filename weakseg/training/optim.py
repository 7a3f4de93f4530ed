"""Optimisers and learning-rate schedules by name."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(model: nn.Module, *, lr: float, encoder_lr: float | None = None) -> list[dict[str, Any]]:
    """The trainable parameters, those of ``model.encoder`` with a learning rate of their own.

    Args:
        model: Has an attribute ``encoder`` where ``encoder_lr`` is given.
        lr: Learning rate.
        encoder_lr: Learning rate of the encoder, None = the same.

    Returns:
        Groups for a torch optimiser: the rest first, then the encoder.

    Raises:
        ValueError: A rate is not positive, or there is no encoder to give one to.
    """
    for name, rate in (("lr", lr), ("encoder_lr", encoder_lr)):
        if rate is not None and not rate > 0:
            raise ValueError(f"{name}: expected a learning rate above 0, got {rate}")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if encoder_lr is None:
        return [{"params": trainable, "lr": lr}]
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"encoder_lr needs a model with an attribute 'encoder', {type(model).__name__} has none")
    ours = {id(parameter) for parameter in encoder.parameters()}
    return [
        {"params": [parameter for parameter in trainable if id(parameter) not in ours], "lr": lr},
        {"params": [parameter for parameter in trainable if id(parameter) in ours], "lr": encoder_lr},
    ]


def build_optimizer(
    model: nn.Module,
    *,
    name: str,
    lr: float,
    encoder_lr: float | None = None,
    weight_decay: float = 0.0,
    eps: float = 1e-8,
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """Build an optimiser. Adam's fused kernels are used: a fifth of the time of a step per parameter, on CPU as on GPU.

    SGD's are not: a first step that fp16's loss scaling skips leaves their momentum uninitialised.

    Args:
        model: What to train.
        name: "adam" or "sgd".
        lr: Learning rate.
        encoder_lr: Learning rate of ``model.encoder``, None = the same.
        weight_decay: Added to the gradient as a multiple of the weight.
        eps: Adam's, ignored by SGD.
        momentum: SGD's, ignored by Adam.

    Returns:
        The optimiser.

    Raises:
        ValueError: Unknown name, a rate that is not positive, or no encoder to give one to.
    """
    groups = parameter_groups(model, lr=lr, encoder_lr=encoder_lr)
    match name:
        case "adam":
            return torch.optim.Adam(groups, lr=lr, eps=eps, weight_decay=weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
        case _:
            raise ValueError(f"unknown optimizer {name!r}, expected one of: adam, sgd")


def build_scheduler(
    optimizer: torch.optim.Optimizer,
    *,
    name: str,
    epochs: int,
    steps_per_epoch: int,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    power: float = 0.9,
) -> LambdaLR:
    """Build a schedule, to be stepped after every optimiser step.

    - ``constant``: 1
    - ``multistep``: gamma to the number of milestones reached
    - ``poly``: (1 - step / all steps) ** power (ParseNet, arXiv 1506.04579)

    Args:
        optimizer: Its learning rates are multiplied by the factor above.
        name: Which of them.
        epochs: Length of the training.
        steps_per_epoch: As :func:`weakseg.training.steps_per_epoch` counts them.
        milestones: Epochs after which ``multistep`` multiplies by gamma, rising.
        gamma: Its factor.
        power: The exponent of ``poly``.

    Returns:
        The schedule.

    Raises:
        ValueError: Unknown name, no step at all, or milestones that do not rise.
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise ValueError(f"expected at least 1 epoch of 1 step, got {epochs} of {steps_per_epoch}")
    total = epochs * steps_per_epoch
    factor: Callable[[int], float]
    match name:
        case "constant":

            def factor(step: int) -> float:
                return 1.0

        case "multistep":
            if any(after <= before for before, after in pairwise(milestones)):
                raise ValueError(f"milestones: expected rising epochs, got {list(milestones)}")

            def factor(step: int) -> float:
                return float(gamma ** bisect_right(milestones, step // steps_per_epoch))

        case "poly":

            def factor(step: int) -> float:
                return float(max(0.0, 1 - step / total) ** power)

        case _:
            raise ValueError(f"unknown schedule {name!r}, expected one of: constant, multistep, poly")
    return LambdaLR(optimizer, factor)
