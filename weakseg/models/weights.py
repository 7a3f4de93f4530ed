"""Encoder weights from a file, loaded strictly."""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from weakseg.errors import WeaksegError

# What files that hold more than an encoder, or were saved from inside a wrapper, put before its names.
_PREFIXES = ("", "encoder.", "module.", "module.encoder_q.")
_CLASSIFIER = re.compile(r"(model\.)?(classifier|fc|_fc|head|last_linear)\.")
_SHOWN = 4


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """A state dict from a `.safetensors` file or one that `torch.save` wrote (read with weights_only=True).

    Of a checkpoint that holds it under `state_dict` beside other things (epoch, optimizer), they are left unread.

    Raises:
        WeaksegError: If there is no such file or it holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise WeaksegError(f'weights file {path} does not exist; give a file, "imagenet" or nothing')
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both formats raise their own kinds, down to UnpicklingError and RuntimeError
        reason = str(error).partition("\n")[0].partition(". ")[0]  # torch's own goes on for a page
        raise WeaksegError(
            f"weights file {path} cannot be read: {type(error).__name__}: {reason}; expected a state dict, in a "
            ".safetensors file or as torch.save writes it"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeaksegError(f"weights file {path} must hold a state dict (names to tensors), came {type(content)}")
    return dict(content)


def load_encoder(encoder: nn.Module, state: Mapping[str, torch.Tensor], *, origin: str) -> None:
    """Fill an encoder from a state dict of its own names, in any float type.

    The names under a prefix (`encoder.`, the query encoder's `module.encoder_q.` of MoCo and MoCo v2) are taken and
    the prefix is taken off, timm's own names get the `model.` that segmentation_models_pytorch puts before them, and a
    classifier or projection head is left out.

    Args:
        encoder: The module to fill.
        state: Names to tensors.
        origin: Where the weights come from, for the message.

    Raises:
        WeaksegError: If names or shapes differ: which, how many, and what was expected.
    """
    expected = encoder.state_dict()
    candidates = [
        {f"{added}{name.removeprefix(prefix)}": value for name, value in state.items() if name.startswith(prefix)}
        for prefix in _PREFIXES
        for added in ("", "model.")
    ]
    given = max(candidates, key=lambda names: len(names.keys() & expected.keys()))
    given = {name: value for name, value in given.items() if name in expected or not _CLASSIFIER.match(name)}
    for name in expected:
        if name.endswith("num_batches_tracked"):  # a counter that older files lack and nothing here reads
            given.setdefault(name, expected[name])
    load_strict(encoder, given, origin=origin, note="(a classifier head beside it does not matter)")


def load_strict(module: nn.Module, state: Mapping[str, torch.Tensor], *, origin: str, note: str = "") -> None:
    """Fill a module from a state dict with exactly its names and shapes.

    Raises:
        WeaksegError: If names or shapes differ: which, how many, and what was expected.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of wrong shape": shapes}
    faults = [f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise WeaksegError(
            f"weights from {origin} do not fit: {'; '.join(faults)}. Expected the {len(expected)} names of "
            f"{type(module).__name__}, such as {next(iter(expected))} {note}".rstrip()
        )
    # nn.Module's own: some encoders override load_state_dict and change the dict they are given.
    nn.Module.load_state_dict(module, dict(state))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
