"""The training loop: plain torch, on one device or, under torch.distributed, on one per rank."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from weakseg import losses, seeding
from weakseg.errors import DataError
from weakseg.training import data, ranks, sampler
from weakseg.training import state as states
from weakseg.training.early_stopping import EarlyStopping
from weakseg.training.epoch import Rows, Step, run_epoch
from weakseg.training.validation import validation_loss
from weakseg.transforms import IMAGENET_MEAN, Augmentation

if TYPE_CHECKING:
    from weakseg.datasets.examples import Examples

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class EpochResult:
    """What is known after an epoch.

    Args:
        epoch: Number of finished epochs.
        metrics: ``epoch``, ``lr``, ``loss`` and, before weighting, ``loss_NAME`` of each term: means over the steps.
            ``val_loss`` where there is validation.
        seconds: Wall time of the epoch on this rank.
        state: Call it for what :func:`fit` can go on from, on any rank, before the training goes on: RuntimeError
            later. It costs a copy of model and optimiser.
    """

    epoch: int
    metrics: dict[str, float]
    seconds: float
    state: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Progress:
    """Where a training is in the middle of an epoch.

    Args:
        epoch: Number of finished epochs.
        step: Number of steps taken of the one that runs.
        state: Call it, on every rank or on none, for what :func:`fit` can go on from at the next step, before the
            training goes on: RuntimeError later. It gathers the random generators of all ranks.
    """

    epoch: int
    step: int
    state: Callable[[], dict[str, Any]]


def fit(
    model: nn.Module,
    examples: "Examples",
    *,
    epochs: int,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler | None = None,
    loss_weights: Mapping[str, float],
    class_weight_C: Tensor | None = None,
    augmentation: Augmentation | None = None,
    seed: int,
    round: int = 0,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    rank: int = 0,
    world: int = 1,
    loader_workers: int = 0,
    validation: "Examples | None" = None,
    validation_weights: Mapping[str, float] | None = None,
    patience: int | None = None,
    state: Mapping[str, Any] | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
    on_steps: Callable[[Progress], None] | None = None,
) -> list[dict[str, float]]:
    """Train a model; all examples are visited in every epoch, those without a label too.

    The result depends on the arguments, the initial weights, through rounding on the number of ranks and threads, and,
    with batch normalisation, on the number of ranks, each of which normalises by its own share of a batch.
    The global random generators are seeded at the start of every epoch by (seed, round, epoch, rank): a training that
    goes on from a state does what it would have done without the interruption, on every rank (to the last bit on a CPU;
    on CUDA some gradients are sums in no fixed order). It may go on with another number of ranks: every image is still
    visited exactly once in every epoch, and each step has the images that it would have had.

    Args:
        model: Gives :class:`weakseg.models.Output` (a model of yours with logits of every pixel: `Output(logits, None,
            (height, width))`); is moved to the device and trained in place.
        examples: Images and labels; the same on every rank.
        epochs: How many in all, those before ``state`` included.
        batch_size: Images per step over all ranks.
        optimizer: From :func:`weakseg.training.build_optimizer`, over the model's parameters.
        scheduler: From :func:`weakseg.training.build_scheduler`, None = constant; stepped after every step.
        loss_weights: Weight of each loss term by name: point, mask, proportion, keypoint, consistency, assignment (see
            :data:`weakseg.losses.TERMS`).
        class_weight_C: Weight of each class in the cross-entropies.
        augmentation: None = none.
        seed: The run's seed.
        round: Active-learning round: another order and other augmentations.
        device: Where to train.
        precision: "fp32", or on CUDA "bf16" or "fp16" (autocast; fp16 with loss scaling).
        rank: This rank.
        world: Number of ranks; above 1 torch.distributed must be initialised.
        loader_workers: Loader processes per rank.
        validation: Examples on which the loss is computed after every epoch; the same on every rank.
        validation_weights: Weight of each loss term there, None = ``loss_weights``.
        patience: End after so many epochs without a lower validation loss, and leave the model as it was in the epoch
            of the lowest; None = all epochs, and the last one's weights.
        state: Where to go on from; the same on every rank.
        on_epoch: Called after every epoch on every rank.
        on_steps: Called every few steps within an epoch, on every rank after the same step.

    Returns:
        The metrics of every epoch from the first, those before ``state`` included.

    Raises:
        ValueError: An argument is out of range, the batch size cannot be shared by the ranks, or precision and device
            do not go together.
        DataError: There is no example, none has a label that an active term reads, or one has a label that is no class
            of the model (for models of :func:`weakseg.models.build_model`; others are torch's to complain).
        WeaksegError: The loss became infinite or NaN, or the state is of another training.
    """
    device = torch.device(device)
    _check(epochs=epochs, device=device, precision=precision, world=world)
    sampler.local_batch_size(batch_size, world)
    weights = {name: float(weight) for name, weight in loss_weights.items() if weight != 0}
    losses.check_terms(weights)
    if len(examples) == 0:
        raise DataError("there is no image to train on")
    if not data.has_label(examples, weights):
        raise DataError(
            f"none of the {len(examples)} images has a label that a loss term reads (active terms: "
            f"{', '.join(sorted(weights)) or 'none'}): label some pixels, or give another term a weight"
        )
    stopping = _stopping(patience, validation, validation_weights or weights)

    model.to(device)
    scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
    key = {"seed": seed, "round": round, "batch_size": batch_size, "images": len(examples)}
    done, history, running = 0, Rows(), None
    if state is not None:
        done, history = states.restore(state, model, optimizer, scheduler, scaler, key=key)
        running = state.get("running")
        if stopping is not None and state.get("best") is not None:
            stopping.load(state["best"])
    seed = seeding.integer(seed, "train", round=round)
    steps = sampler.steps_per_epoch(len(examples), batch_size)

    moment: tuple[int, int] | None = None  # the epoch and step at which a state can be taken

    def snapshot(finished: int, step: int, running: Callable[[], states.Running | None]) -> dict[str, Any]:
        if moment != (finished, step):
            raise RuntimeError(
                f"the training has gone on since epoch {finished}{f', step {step}' if step else ''}: "
                "call state() within on_epoch or on_steps"
            )
        rows, best = history[:finished], None if stopping is None else stopping.state()
        parts = (model, optimizer, scheduler, scaler)
        return states.snapshot(*parts, epoch=finished, history=rows, key=key, best=best, running=running())

    for epoch in range(done, epochs):
        if stopping is not None and stopping.over(epoch):
            break
        moment = None
        started = time.perf_counter()
        batches = data.loader(
            examples,
            augmentation=augmentation,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            rank=rank,
            world=world,
            skip=len(running["rows"]) if running else 0,
            workers=loader_workers,
            classes=_classes(model),
            fill=_padding(model),
            pin_memory=device.type == "cuda",
        )
        # wrapped anew in every epoch: DDP regroups its gradients after the first step, which changes how they round,
        # and a training that goes on from a state starts with the first grouping
        network = ranks.wrapped(model, device) if world > 1 else model
        network.train()
        seeding.seed_everything(seed, f"rank {rank}", round=epoch)
        step = Step(network, optimizer, scheduler, scaler, weights, class_weight_C, device, PRECISIONS[precision])
        metrics = {"epoch": float(epoch + 1), "lr": float(optimizer.param_groups[0]["lr"])}
        rows = Rows()
        if running:
            metrics["lr"], rows = running["lr"], running["rows"]
            batches = _go_on(step, iter(batches), running, device=device, rank=rank, world=world)
            running = None

        def pause(rows: Rows, epoch: int = epoch, lr: float = metrics["lr"]) -> None:
            nonlocal moment
            assert on_steps is not None
            moment = epoch, len(rows)
            running = partial(_running, rows, lr, device=device, world=world)
            on_steps(Progress(epoch, len(rows), partial(snapshot, *moment, running)))
            moment = None

        metrics |= run_epoch(
            step, batches, epoch=epoch + 1, steps=steps, before=rows, on_steps=None if on_steps is None else pause
        )
        if validation is not None:
            ranks.take_over_buffers(model, world)
            metrics["val_loss"] = validation_loss(
                model,
                validation,
                weights=validation_weights or weights,
                class_weight_C=class_weight_C,
                batch_size=max(1, batch_size // world),
                device=device,
                autocast=PRECISIONS[precision],
                rank=rank,
                world=world,
                classes=_classes(model),
                fill=_padding(model),
            )
            if stopping is not None:
                stopping.update(epoch + 1, metrics["val_loss"], model)
        history.append(metrics)
        moment = epoch + 1, 0
        if on_epoch is not None:
            seconds = time.perf_counter() - started
            on_epoch(EpochResult(epoch + 1, dict(metrics), seconds, partial(snapshot, *moment, lambda: None)))
    if stopping is not None:
        stopping.restore(model)
        moment = None
    return history


def _stopping(
    patience: int | None, validation: "Examples | None", weights: Mapping[str, float]
) -> EarlyStopping | None:
    """What ends the training early; refuse validation that could only say 0."""
    if validation is not None and not data.has_label(validation, weights):
        raise DataError(
            f"none of the {len(validation)} validation images has a label that a loss term reads (active terms: "
            f"{', '.join(sorted(weights))}): give validation images labels, or train without early stopping"
        )
    if patience is None:
        return None
    if validation is None:
        raise ValueError("patience: expected validation examples beside it, got none")
    return EarlyStopping(patience)


def _running(rows: Rows, lr: float, *, device: torch.device, world: int) -> states.Running:
    """What is known of an epoch in its middle, gathered from all ranks."""
    mine = states.random_states(device)
    everyones: list[Any] = [mine]
    if world > 1:
        everyones = [None] * world
        torch.distributed.all_gather_object(everyones, mine)
    return {"rows": [dict(row) for row in rows], "lr": lr, "rng": everyones}


def _go_on(
    step: Step, batches: Iterator[data.Batch], running: states.Running, *, device: torch.device, rank: int, world: int
) -> Iterable[data.Batch]:
    """Bring everything to where the epoch broke off; returns the batches that are left."""
    first = next(batches)
    step.rehearse(first)
    if len(running["rng"]) == world:
        states.restore_random_states(running["rng"][rank], device)
    # else there is no telling which rank would have drawn what: they keep what the epoch began with
    return chain([first], batches)


def _padding(model: nn.Module) -> tuple[float, float, float]:
    """The colour that the model takes to zero: the mean it subtracts, ImageNet's where it has none."""
    mean = getattr(model, "mean", None)
    if not isinstance(mean, Tensor) or mean.numel() != 3:
        return IMAGENET_MEAN
    red, green, blue = mean.flatten().tolist()
    return red, green, blue


def _classes(model: nn.Module) -> int | None:
    """How many classes a model of `build_model` has; None = another model."""
    spec = getattr(model, "spec", None)
    return int(spec["classes"]) if isinstance(spec, Mapping) and "classes" in spec else None


def _check(*, epochs: int, device: torch.device, precision: str, world: int) -> None:
    """Refuse what cannot work, before anything is read."""
    if epochs < 1:
        raise ValueError(f"epochs: expected at least 1, got {epochs}")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}, expected one of: {', '.join(PRECISIONS)}")
    if precision != "fp32" and device.type != "cuda":
        raise ValueError(f"precision {precision} needs a CUDA device, got {device.type}: use fp32 there")
    ranks.check_world(world)
    if device.type == "cuda" and world > 1:
        torch.cuda.set_device(device)  # by which NCCL gathers objects
