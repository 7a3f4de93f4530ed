"""Everything a training needs to go on as if it had never stopped, in one file."""

import os
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from weakseg.errors import WeaksegError

FORMAT = 1


class Running(TypedDict):
    """Of an epoch in its middle: what each step so far gave, the rate at its start, and every rank's generators."""

    rows: list[dict[str, float]]
    lr: float
    rng: list[dict[str, Any]]


def snapshot(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler | None,
    scaler: torch.amp.GradScaler | None,
    *,
    epoch: int,
    history: list[dict[str, float]],
    key: Mapping[str, int],
    best: Mapping[str, Any] | None = None,
    running: Running | None = None,
) -> dict[str, Any]:
    """Copy a training's state to the CPU; later steps do not change the copy.

    Args:
        model: The model itself, not its DDP wrapper.
        optimizer: Its optimiser.
        scheduler: Its schedule.
        scaler: fp16's loss scaler.
        epoch: Number of finished epochs.
        history: The metrics of each of them.
        key: What a training that goes on from here must agree in, such as seed and batch_size.
        best: What early stopping knows, None without it.
        running: The epoch after them, where it is under way; None = between two epochs.

    Returns:
        Tensors, numbers and strings only, as ``torch.load(weights_only=True)`` takes them.
    """
    return {
        "format": FORMAT,
        "key": _copied(key),
        "epoch": epoch,
        "history": _copied(history),
        "model": _copied(model.state_dict()),
        "optimizer": _copied(optimizer.state_dict()),
        "scheduler": None if scheduler is None else _copied(scheduler.state_dict()),
        "scaler": None if scaler is None else _copied(scaler.state_dict()),
        "best": None if best is None else _copied(best),
        "running": None if running is None else _copied(running),
        "rng": random_states(_device(model)),
    }


def restore(
    state: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler | None,
    scaler: torch.amp.GradScaler | None,
    *,
    key: Mapping[str, int],
) -> tuple[int, list[dict[str, float]]]:
    """Put a state back into freshly built objects.

    Args:
        state: From :func:`snapshot`, by way of a file or not.
        model: As in :func:`snapshot`.
        optimizer: As in :func:`snapshot`.
        scheduler: As in :func:`snapshot`.
        scaler: As in :func:`snapshot`.
        key: Must be equal to the snapshot's.

    Returns:
        The number of finished epochs and their metrics.

    Raises:
        WeaksegError: The state is of another training, or does not fit the model, optimiser or schedule.
    """
    if state.get("format") != FORMAT:
        raise WeaksegError(
            f"expected a training state of format {FORMAT}, got {state.get('format')}: train from the start"
        )
    other = [
        f"{name} {state['key'].get(name)} there, {key[name]} here"
        for name in key
        if state["key"].get(name) != key[name]
    ]
    if other:
        raise WeaksegError(f"the training state is of another training ({'; '.join(other)}): train from the start")
    parts = {"schedule": (scheduler, state["scheduler"]), "fp16 scaler": (scaler, state["scaler"])}
    for name, (part, saved) in parts.items():
        if (part is None) != (saved is None):
            raise WeaksegError(f"the training state has {'no' if saved is None else 'a'} {name}, this training differs")
    settings = [set(group) for group in optimizer.param_groups]
    others = [set(group) for group in state["optimizer"]["param_groups"]]
    # Another version of torch may know more of them, another optimiser has some of its own.
    if not all(one <= other or other <= one for one, other in zip(settings, others, strict=False)):
        raise WeaksegError("the training state is of another optimizer: take the one it was trained with")
    fused = [group.get("fused") for group in optimizer.param_groups]
    try:
        model.load_state_dict(state["model"])
        # a copy: the optimiser keeps the very dictionaries and tensors that it is given
        optimizer.load_state_dict(_copied(state["optimizer"]))
        for group, own in zip(optimizer.param_groups, fused, strict=True):
            group["fused"] = own  # a matter of the device, which may be another one
        for part, saved in parts.values():
            if part is not None:
                part.load_state_dict(_copied(saved))
    except (RuntimeError, ValueError, KeyError) as error:
        raise WeaksegError(f"the training state does not fit this model and optimizer: {error}") from error
    restore_random_states(state["rng"], _device(model))
    return int(state["epoch"]), [dict(row) for row in state["history"]]


def trained_weights(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The weights that a finished training leaves: the last epoch's, or under early stopping the best one's."""
    best = state.get("best")
    weights: dict[str, torch.Tensor] = state["model"] if best is None or best["weights"] is None else best["weights"]
    return weights


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of the global generators of random, NumPy and torch, and of a CUDA device its own."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "random": [version, list(words), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys, np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Set the global generators, and a CUDA device's where the states are of one."""
    version, words, gauss = states["random"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and len(states["cuda"]) == 1:
        torch.cuda.set_rng_state(states["cuda"][0], device)


def save(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a state; at any moment the file is either the old one or the new one, whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path) -> dict[str, Any]:
    """Read a state to the CPU.

    Args:
        path: Written by :func:`save`.

    Returns:
        The state.

    Raises:
        WeaksegError: There is no such file, or it is none of ours. It is read without running code from it.
    """
    path = Path(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeaksegError(f"no training state at {path}") from None
    except Exception as error:  # torch raises whatever its unpickler met
        raise WeaksegError(
            f"{path} is no readable training state ({error}): remove it and train from the start"
        ) from error
    if not isinstance(state, dict) or "epoch" not in state:
        raise WeaksegError(f"{path} holds no training state: remove it and train from the start")
    return state


def _device(model: nn.Module) -> torch.device:
    """Where a model is; of one without parameters the CPU."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _copied(value: Any) -> Any:
    """A copy of nested containers with their tensors cloned to the CPU, and NumPy's numbers as Python's."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
