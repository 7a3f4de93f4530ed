"""From a model and images of any size to masks and probabilities at the images' own size.

What `weakseg predict`, `evaluate --model` and the registered model have in common: a :class:`View` says how a model
sees an image, by how it was trained.

- Trained on images resized to one size (`size`): the image is resized exactly as `prepare` does it, the probabilities
  are interpolated bilinearly to the image's own size, and the mask is the most probable class there.
- Else images are seen at their own scale; one that is higher or wider than the largest image in training (`window`) in
  overlapping windows of that size (:mod:`weakseg.tiled`).

An image of the training size goes neither way: its mask is byte for byte that of :func:`weakseg.inference.predict`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from weakseg import tiled
from weakseg.datasets.tiling import resize_image
from weakseg.inference import logits, most_probable
from weakseg.losses import two_channels

__all__ = ["Prediction", "View", "segment", "viewed_logits"]

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """How a model sees images.

    Args:
        size: (height, width) to which every image is resized; None = images are taken as they are.
        window: (height, width) of windows for images larger than that; None = every image is seen whole.
        overlap: Of neighbouring windows, in pixels; None = a quarter of the window's smaller side.
        temperature: By which logits are divided before they become probabilities (a calibration).

    Raises:
        ValueError: If both size and window are given, or a number is out of range.
    """

    size: Size | None = None
    window: Size | None = None
    overlap: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.size is not None and self.window is not None:
            raise ValueError("a model trained on resized images sees every image whole: give size or window, not both")
        for name, pair in (("size", self.size), ("window", self.window)):
            if pair is not None and min(pair) < 1:
                raise ValueError(f"{name} must be at least 1x1 pixels, came {pair[0]}x{pair[1]}")
        if self.overlap is not None and self.window is None:
            raise ValueError("an overlap needs windows, there are none")
        if self.overlap is not None and self.window is not None and not 0 <= self.overlap < min(self.window):
            raise ValueError(
                f"the overlap must be from 0 to below the window's smaller side {min(self.window)}, came {self.overlap}"
            )
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, came {self.temperature}")

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "View":
        """The view that a stored model's description (`model.json`) tells; older ones know no window."""
        size, window = description.get("size"), description.get("window")
        return cls(
            size=(int(size[0]), int(size[1])) if size else None,
            window=(int(window[0]), int(window[1])) if window and not size else None,
            temperature=float(description.get("temperature", 1.0)),
        )

    def is_plain(self, size: Size) -> bool:
        """Whether an image of this size is seen whole and at its own scale."""
        return self.size in (None, size) and not tiled.is_larger(size, self.window)


class Prediction(NamedTuple):
    """What a model says of one image.

    Attributes:
        mask: uint8 (H, W), class indices.
        probabilities: float16 (C, H, W), calibrated, C at least 2; None where they were not asked for.
    """

    mask: Image
    probabilities: npt.NDArray[np.float16] | None


def segment(
    model: nn.Module,
    images: Iterable[Image],
    *,
    view: View,
    probabilities: bool = False,
    batch_size: int | None = None,
) -> Iterator[Prediction]:
    """Masks, and probabilities if asked for, at the images' own sizes and in their order.

    Args:
        model: From `build_model`, on the device where it is to run.
        images: uint8 HW3 RGB, of any sizes.
        view: How the model sees them.
        probabilities: Whether to give them too. Without them memory holds no map per class of a large image.
        batch_size: As in :func:`weakseg.inference.logits`.
    """
    for is_tiled, run in _runs(images, view):
        if not is_tiled:
            for logits_CHW, size in _whole(model, run, view, batch_size):
                mask_HW = _mask(logits_CHW, size)
                probs_CHW = _probabilities(logits_CHW, size, view.temperature) if probabilities else None
                yield Prediction(mask_HW, None if probs_CHW is None else _half(probs_CHW))
            continue
        for image_HW3 in run:
            yield _in_windows(model, image_HW3, view, probabilities, batch_size)


def viewed_logits(
    model: nn.Module, images: Iterable[Image], *, view: View, batch_size: int | None = None
) -> Iterator[torch.Tensor]:
    """Logits at the images' own sizes: those whose most probable class is :func:`segment`'s mask.

    Of an image that was resized they are logarithms of the interpolated probabilities (before the temperature), for
    a model with one channel their difference.

    Args:
        model: As in `segment`, like all else.
        images: As there.
        view: As there; its temperature is not applied.
        batch_size: As there.

    Yields:
        logits_CHW float32 per image, on the device.
    """
    for is_tiled, run in _runs(images, view):
        if is_tiled:
            for image_HW3 in run:
                yield torch.cat([band for _, band in _bands(model, image_HW3, view, batch_size)], dim=1)
        else:
            for logits_CHW, size in _whole(model, run, view, batch_size):
                yield logits_CHW if logits_CHW.shape[1:] == size else _at_size(logits_CHW, size)


def _runs(images: Iterable[Image], view: View) -> Iterator[tuple[bool, Iterator[Image]]]:
    """Images in their order, those in windows apart from those whole; read as they are asked for."""
    return groupby(images, key=lambda image: tiled.is_larger((image.shape[0], image.shape[1]), view.window))


def _whole(
    model: nn.Module, images: Iterable[Image], view: View, batch_size: int | None
) -> Iterator[tuple[torch.Tensor, Size]]:
    """Logits at the size at which the model sees an image, and the image's own size."""
    sizes: list[Size] = []

    def seen() -> Iterator[Image]:
        for image_HW3 in images:
            sizes.append((image_HW3.shape[0], image_HW3.shape[1]))
            yield image_HW3 if view.size in (None, sizes[-1]) else resize_image(image_HW3, view.size)

    for number, logits_CHW in enumerate(logits(model, seen(), batch_size=batch_size)):
        yield logits_CHW, sizes[number]


def _bands(
    model: nn.Module, image_HW3: Image, view: View, batch_size: int | None
) -> Iterator[tuple[int, torch.Tensor]]:
    assert view.window is not None
    return tiled.bands(model, image_HW3, window=view.window, overlap=view.overlap, batch_size=batch_size)


def _in_windows(
    model: nn.Module, image_HW3: Image, view: View, probabilities: bool, batch_size: int | None
) -> Prediction:
    height, width = image_HW3.shape[:2]
    mask_HW = np.empty((height, width), np.uint8)
    probs_CHW: npt.NDArray[np.float16] | None = None
    for y, logits_ChW in _bands(model, image_HW3, view, batch_size):
        rows = slice(y, y + logits_ChW.shape[1])
        mask_HW[rows] = most_probable(logits_ChW).cpu().numpy()
        if probabilities:
            band_ChW = _half(_probabilities(logits_ChW, (logits_ChW.shape[1], width), view.temperature))
            if probs_CHW is None:
                probs_CHW = np.empty((len(band_ChW), height, width), np.float16)
            probs_CHW[:, rows] = band_ChW
    return Prediction(mask_HW, probs_CHW)


def _mask(logits_CHW: torch.Tensor, size: Size) -> Image:
    """The most probable class per pixel, at the image's own size."""
    if logits_CHW.shape[1:] == size:
        # Not by the probabilities: rounding may make two equal whose logits are not.
        return most_probable(logits_CHW).cpu().numpy()
    # Class by class, so that a photograph of many pixels needs two maps of its size and not one per class.
    probs_CHW = two_channels(logits_CHW[None])[0].softmax(0)
    best_HW = _interpolate(probs_CHW[:1], size)[0]
    mask_HW = torch.zeros(size, dtype=torch.uint8, device=best_HW.device)
    for index in range(1, len(probs_CHW)):
        probs_HW = _interpolate(probs_CHW[index : index + 1], size)[0]
        mask_HW[probs_HW > best_HW] = index
        best_HW = torch.maximum(best_HW, probs_HW)
    return mask_HW.cpu().numpy()


def _probabilities(logits_CHW: torch.Tensor, size: Size, temperature: float) -> torch.Tensor:
    probs_CHW = (two_channels(logits_CHW[None])[0] / temperature).softmax(0)
    return probs_CHW if logits_CHW.shape[1:] == size else _interpolate(probs_CHW, size)


def _at_size(logits_CHW: torch.Tensor, size: Size) -> torch.Tensor:
    log_CHW = _probabilities(logits_CHW, size, 1.0).clamp_min(torch.finfo(torch.float32).tiny).log()
    return log_CHW[1:] - log_CHW[:1] if len(logits_CHW) == 1 else log_CHW


def _interpolate(probs_CHW: torch.Tensor, size: Size) -> torch.Tensor:
    return F.interpolate(probs_CHW[None], size, mode="bilinear", align_corners=False)[0]


def _half(probs_CHW: torch.Tensor) -> npt.NDArray[np.float16]:
    return probs_CHW.cpu().numpy().astype(np.float16)
