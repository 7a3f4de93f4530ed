"""The one way from a model to probabilities: scoring, evaluation, prediction and serving all go through here."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weakseg import seeding
from weakseg.errors import DivergedError
from weakseg.models.dropout import dropout_layers
from weakseg.models.output import Output, full_resolution
from weakseg.schema import VOID

__all__ = ["assignments", "committee", "evaluating", "logits", "most_probable", "predict", "probabilities"]

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
        logits_CHW float32 per image, on the device; C = 1 is the sigmoid case.

    Raises:
        ValueError: If an image is no uint8 HW3 array, or a setting is wrong.
        DivergedError: The model's scores are no finite numbers.
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
    temperature: float = 1.0,
) -> Iterator[torch.Tensor]:
    """Softmax of `logits`, in float32: probs_CHW per image in input order, on the device.

    Args:
        model: As in `logits`, like all that is not said here.
        images: As there.
        device: As there.
        batch_size: As there.
        precision: As there.
        temperature: Logits are divided by it first: what a calibration on validation images found (Guo et al., arXiv
            1706.04599); 1 = as the model says.

    Yields:
        probs_CHW per image; from a model with one channel (1, H, W), the sigmoid: the foreground's.

    Raises:
        ValueError: As `logits`, or if the temperature is not above 0.
    """
    _check_temperature(temperature)
    for logits_CHW in logits(model, images, device=device, batch_size=batch_size, precision=precision):
        yield _probabilities(logits_CHW, temperature)


def predict(
    model: nn.Module,
    images: Iterable[Image],
    *,
    device: Device | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Iterator[Image]:
    """The most probable class of every pixel: uint8 HW per image in input order. Arguments as `logits`.

    From a model with one channel, 1 where the foreground is more probable than not.
    """
    for logits_CHW in logits(model, images, device=device, batch_size=batch_size, precision=precision):
        yield most_probable(logits_CHW).cpu().numpy()


def most_probable(logits_CHW: torch.Tensor) -> torch.Tensor:
    """The most probable class of every pixel, uint8 HW on the logits' device; one channel z is the pair (0, z).

    Raises:
        ValueError: There are more classes than a mask can hold.
    """
    if len(logits_CHW) > VOID:
        raise ValueError(f"a mask holds at most {VOID} classes, the logits have {len(logits_CHW)}")
    best_HW = logits_CHW[0] > 0 if len(logits_CHW) == 1 else logits_CHW.argmax(dim=0)
    return best_HW.to(torch.uint8)


def assignments(
    model: nn.Module, images: Iterable[Image], *, device: Device | None = None, batch_size: int | None = None
) -> Iterator[tuple[torch.Tensor, ...] | None]:
    """Learned superpixels per image, as `Output.assignments`; None from a model without. Arguments as `logits`."""
    for output, _ in _outputs(model, images, _settings(model, device, batch_size, "fp32")):
        yield output.assignments


def committee(
    model: nn.Module,
    images: Iterable[Image],
    *,
    passes: int,
    seeds: Iterable[int],
    device: Device | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    temperature: float = 1.0,
) -> Iterator[Iterator[torch.Tensor]]:
    """Monte-Carlo dropout (Gal and Ghahramani, arXiv 1506.02142): an image's probabilities under many dropout masks.

    Dropout layers draw, all else is in evaluation mode. The draws of an image depend on its seed alone, on one kind
    of device: neither on the images beside it nor on their order nor on what the global generators gave before, and
    these are left as they were. They differ between CPU and GPU, and between batch sizes.

    Args:
        model: Its dropout layers make the committee: those of `build_model(dropout=...)` and an architecture's own.
        images: As in `logits`.
        passes: Number of members, the forward passes of an image.
        seeds: One per image, such as `seeding.integer(seed, "committee", round=..., image_id=...)`.
        device: As in `logits`.
        batch_size: Passes of one image at a time; None = 1 on a CPU, 8 elsewhere.
        precision: As in `logits`.
        temperature: As in `probabilities`.

    Yields:
        Per image in input order, an iterator over its members' probs_CHW, on the device. A member is computed when it
        is asked for: head logits of `batch_size` members and one member at full resolution are held at a time.

    Raises:
        ValueError: At once, if the model has no dropout or a setting is wrong; later, if an image is no uint8 HW3
            array or there are not as many seeds as images.
    """
    if passes < 1:
        raise ValueError(f"a committee needs at least 1 pass, came {passes}")
    if next(dropout_layers(model), None) is None:
        raise ValueError("a committee needs dropout, this model has none: build and train it with dropout above 0")
    _check_temperature(temperature)
    settings = _settings(model, device, batch_size, precision)
    return (
        _members(model, _checked(image, index), passes, seed, settings, temperature)
        for index, (image, seed) in enumerate(zip(images, seeds, strict=True))
    )


def _members(
    model: nn.Module, image: Image, passes: int, seed: int, settings: _Settings, temperature: float
) -> Iterator[torch.Tensor]:
    for first in range(0, passes, settings.batch_size):
        count = min(settings.batch_size, passes - first)
        with _seeded(seeding.integer(seed, "pass", round=first), settings.device):
            outputs = _forward(model, (image,) * count, settings._replace(batch_size=count), dropout=True)
        for output in outputs:
            yield _probabilities(full_resolution(output, (image.shape[0], image.shape[1]))[0], temperature)


def _probabilities(logits_CHW: torch.Tensor, temperature: float) -> torch.Tensor:
    if temperature != 1:
        logits_CHW = logits_CHW / temperature
    return torch.sigmoid(logits_CHW) if len(logits_CHW) == 1 else torch.softmax(logits_CHW, dim=0)


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a number above 0, came {temperature}")


def _checked(image: Image, index: int) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image {index} must be uint8 HW3, came {image.dtype} {image.shape}")
    return image


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
    return _Settings(device, batch_size or default_batch_size(model, device), _PRECISIONS[precision])


def default_batch_size(model: nn.Module, device: Device | None = None) -> int:
    """Images per forward pass where nothing else is asked for; device as in `logits`."""
    device = next(model.parameters()).device if device is None else torch.device(device)
    return _CPU_BATCH if device.type == "cpu" else _CUDA_BATCH


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
        _checked(image, arrived - 1)
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
def _forward(model: nn.Module, batch: tuple[Image, ...], settings: _Settings, *, dropout: bool = False) -> list[Output]:
    """One forward pass of the fixed batch shape; an output per image, without the repeats."""
    filled = (*batch, *[batch[-1]] * (settings.batch_size - len(batch)))
    image_B3HW = torch.from_numpy(np.stack(filled)).to(settings.device).permute(0, 3, 1, 2).float() / 255
    autocast = torch.autocast(settings.device.type, dtype=settings.dtype, enabled=settings.dtype is not None)
    with evaluating(model, dropout=dropout), autocast:
        output: Output = model(image_B3HW)
    if not output.logits_BChw.isfinite().all():
        raise DivergedError(
            "the model gives scores that are no finite numbers: its training has diverged, or its weights are damaged"
        )
    return [_of_image(output, i) for i in range(len(batch))]


def _of_image(output: Output, i: int) -> Output:
    logits_BChw, assignments, padded_size = output
    if assignments is not None:
        assignments = tuple(A_B9HW[i : i + 1].float() for A_B9HW in assignments)
    return Output(logits_BChw[i : i + 1].float(), assignments, padded_size)


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global generators, from which dropout draws, begin at a seed and are put back afterwards."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # Not torch.manual_seed: it would also seed the devices that are not put back.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextlib.contextmanager
def evaluating(model: nn.Module, *, dropout: bool = False) -> Iterator[None]:
    """Evaluation mode, then every module's own mode again (a frozen part may have another than the rest)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    if dropout:
        for layer in dropout_layers(model):
            layer.training = True
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
