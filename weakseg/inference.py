"""The one way from a model to probabilities: scoring, evaluation, prediction and serving all go through here."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weakseg.models.output import Output, full_resolution

__all__ = ["logits", "predict", "probabilities"]

Image = npt.NDArray[np.uint8]
Device = torch.device | str

# Kernels differ between batch sizes, and with them the last bits. On a CPU one image at a time is also as fast as
# more (measured on one thread: fcn8 8.3 against 7.6 ms at 144x192, DeepLabv3+ 116 against 121 ms at 368x480).
_CPU_BATCH = 1
_CUDA_BATCH = 8
# Images that wait for others of their size, or for their turn, in batches: bounds memory with many sizes.
_WAITING_BATCHES = 4
_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class _Settings(NamedTuple):
    device: torch.device
    batch_size: int
    dtype: torch.dtype | None


def logits(
    model: nn.Module,
    images: Iterable[Image],
    *,
    device: Device | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Iterator[torch.Tensor]:
    """Class scores at full resolution, one image after the other in input order.

    An image's answer does not depend on its batch mates: batches always have the same shape (the last one of a size is
    filled up with repeats), so that the same kernels run; on a CPU it is bitwise the same. Memory holds some batches of
    images and head logits, and one image at full resolution. The model is put into evaluation mode for each batch only.

    Args:
        model: From `build_model`; moved to `device` where one is given.
        images: uint8 HW3 RGB, of any sizes; only images of equal size share a batch.
        device: Where to compute; None = where the model is.
        batch_size: Images per forward pass; None = 1 on a CPU, 8 elsewhere.
        precision: "fp32", or "bf16" / "fp16" for autocast on CUDA.

    Yields:
        logits_CHW float32 per image, on the device.

    Raises:
        ValueError: If an image is no uint8 HW3 array, or a setting is wrong.
    """
    settings = _settings(model, device, batch_size, precision)
    for output, size in _outputs(model, images, settings):
        yield full_resolution(output, size)[0]


def probabilities(
    model: nn.Module,
    images: Iterable[Image],
    *,
    device: Device | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Iterator[torch.Tensor]:
    """Softmax of `logits` in float32: probs_CHW per image in input order, on the device. Arguments as there."""
    for logits_CHW in logits(model, images, device=device, batch_size=batch_size, precision=precision):
        yield torch.softmax(logits_CHW, dim=0)


def predict(
    model: nn.Module,
    images: Iterable[Image],
    *,
    device: Device | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Iterator[Image]:
    """The most probable class of every pixel: uint8 HW per image in input order. Arguments as `logits`."""
    for logits_CHW in logits(model, images, device=device, batch_size=batch_size, precision=precision):
        yield logits_CHW.argmax(dim=0).to(torch.uint8).cpu().numpy()


def _settings(model: nn.Module, device: Device | None, batch_size: int | None, precision: str) -> _Settings:
    if precision not in _PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(_PRECISIONS)}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, came {batch_size}")
    if device is None:
        device = next(model.parameters()).device
    else:
        device = torch.device(device)
        model.to(device)
    if _PRECISIONS[precision] is not None and device.type != "cuda":
        raise ValueError(f"precision {precision} needs a CUDA device, the model runs on {device.type}: take fp32")
    default = _CPU_BATCH if device.type == "cpu" else _CUDA_BATCH
    return _Settings(device, default if batch_size is None else batch_size, _PRECISIONS[precision])


def _outputs(
    model: nn.Module, images: Iterable[Image], settings: _Settings
) -> Iterator[tuple[Output, tuple[int, int]]]:
    """Head outputs (batch of one) and image sizes in input order."""
    waiting: dict[tuple[int, int], list[tuple[int, Image]]] = {}
    ready: dict[int, tuple[Output, tuple[int, int]]] = {}
    due = arrived = 0

    def run(size: tuple[int, int]) -> None:
        indices, batch = zip(*waiting.pop(size), strict=True)
        outputs = _forward(model, batch, settings)
        ready.update((index, (output, size)) for index, output in zip(indices, outputs, strict=True))

    for arrived, image in enumerate(images, start=1):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image {arrived - 1} must be uint8 HW3, came {image.dtype} {image.shape}")
        size = (image.shape[0], image.shape[1])
        waiting.setdefault(size, []).append((arrived - 1, image))
        if len(waiting[size]) == settings.batch_size:
            run(size)
        elif arrived - due >= _WAITING_BATCHES * settings.batch_size:
            # The one whose turn it is has waited for too long; sizes stand in the order in which they began to wait.
            run(next(iter(waiting)))
        while due in ready:
            yield ready.pop(due)
            due += 1
    while waiting:
        run(next(iter(waiting)))
    while due < arrived:
        yield ready.pop(due)
        due += 1


@torch.no_grad()
def _forward(model: nn.Module, batch: tuple[Image, ...], settings: _Settings) -> list[Output]:
    """One forward pass of the fixed batch shape; an output per image, without the repeats."""
    filled = (*batch, *[batch[-1]] * (settings.batch_size - len(batch)))
    image_B3HW = torch.from_numpy(np.stack(filled)).to(settings.device).permute(0, 3, 1, 2).float() / 255
    autocast = torch.autocast(settings.device.type, dtype=settings.dtype, enabled=settings.dtype is not None)
    with _evaluating(model), autocast:
        output: Output = model(image_B3HW)
    return [output._replace(logits_BChw=output.logits_BChw[i : i + 1].float()) for i in range(len(batch))]


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, then every module's own mode again (a frozen part may have another than the rest)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
