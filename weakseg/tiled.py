"""Images larger than a model saw in training: overlapping windows, faded into each other.

A window's prediction near its own border was made without what lies beyond, so that the outer quarter of the overlap
is dropped, as in the overlap-tile strategy of U-Net (Ronneberger et al., arXiv 1505.04597, Fig. 2); over the middle
half of the overlap the logits of one window fade linearly into those of the next. At every pixel the weights of all
windows sum to 1. So a constant map stays constant, and where the output depends on no pixel farther away than the
dropped quarter, the result is that of the whole image.

Windows begin at multiples of 32 pixels, the strides of the encoders, so that every window sees the image on the grid
on which the whole image would be seen; the last one of a row or column reaches to the border and may be up to 31
pixels larger. Memory holds one row of windows at a time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weakseg.inference import default_batch_size, logits

__all__ = ["Span", "bands", "default_overlap", "is_larger", "spans"]

Size = tuple[int, int]

_GRID = 32
"""Origins of windows are its multiples: the largest stride of the encoders."""


class Span(NamedTuple):
    """A window along one axis.

    Attributes:
        start: Its first pixel.
        stop: The pixel after its last.
        weight: (stop - start,) float32, what its prediction counts at each of its pixels.
    """

    start: int
    stop: int
    weight: npt.NDArray[np.float32]


def is_larger(size: Size, window: Size | None) -> bool:
    """Whether an image is predicted in windows: it is higher or wider than one. None = there are no windows."""
    return window is not None and (size[0] > window[0] or size[1] > window[1])


def default_overlap(window: Size) -> int:
    """A quarter of the window's smaller side: a sixteenth of it is dropped at each inner border."""
    return min(window) // 4


def spans(length: int, window: int, overlap: int) -> list[Span]:
    """The windows along one axis, evenly spread.

    Args:
        length: Of the image, in pixels, at least 1.
        window: Of a window.
        overlap: Of two neighbours, in pixels, at least; below `window`.

    Returns:
        One window where the image is no longer than it, or by less than the grid's 32 pixels. Else windows in order
        that cover the image; of all windows over a pixel the weights sum to 1.

    Raises:
        ValueError: If a number is out of range.
    """
    if min(length, window) < 1 or not 0 <= overlap < window:
        raise ValueError(
            f"expected a length and a window of at least 1 and an overlap from 0 to below the window, "
            f"got length {length}, window {window}, overlap {overlap}"
        )
    grid = min(_GRID, 2 ** ((window - overlap).bit_length() - 1))
    step = (window - overlap) // grid * grid
    last = max(0, length - window) // grid * grid
    gaps = -(-last // step)
    starts = [i * last // gaps // grid * grid for i in range(gaps + 1)] if gaps else [0]
    stops = [start + window for start in starts[:-1]] + [length]
    total = np.zeros(length, np.float64)
    weights = []
    for start, stop in zip(starts, stops, strict=True):
        weight = _fade(stop - start, overlap, first=start == 0, last=stop == length)
        total[start:stop] += weight
        weights.append(weight)
    return [
        Span(start, stop, (weight / total[start:stop]).astype(np.float32))
        for start, stop, weight in zip(starts, stops, weights, strict=True)
    ]


def bands(
    model: nn.Module,
    image_HW3: npt.NDArray[np.uint8],
    *,
    window: Size,
    overlap: int | None = None,
    device: torch.device | str | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Iterator[tuple[int, torch.Tensor]]:
    """Class scores of a large image, from top to bottom.

    Args:
        model: As in :func:`weakseg.inference.logits`, like all that is not said here.
        image_HW3: uint8 RGB, of any size.
        window: (height, width) of a window: the size of the images in training.
        overlap: Of neighbouring windows, in pixels; None = :func:`default_overlap`.
        device: As there.
        batch_size: As there; None = at most as there, so that little is filled up, which the image's size decides.
        precision: As there.

    Yields:
        (y, logits_ChW): whole rows of the image from row y on, float32 on the device; the bands follow one another
        without gaps. What fits into one window comes as one band, exactly as from `logits`.

    Raises:
        ValueError: If the window or overlap is out of range, or as `logits`.
    """
    overlap = default_overlap(window) if overlap is None else overlap
    height, width = image_HW3.shape[:2]
    rows, columns = spans(height, window[0], overlap), spans(width, window[1], overlap)
    if batch_size is None:
        batch_size = _batch_size(rows, columns, most=default_batch_size(model, device))
    cuts = (image_HW3[row.start : row.stop, column.start : column.stop] for row in rows for column in columns)
    found = logits(model, cuts, device=device, batch_size=batch_size, precision=precision)
    if len(rows) == len(columns) == 1:
        yield 0, next(found)
        return
    pending: torch.Tensor | None = None  # sums of rows to which later windows will add
    for row, below in pairwise([*rows, None]):
        assert row is not None
        pending = _row_of_windows(found, row, columns, width, pending)
        done = (height if below is None else below.start) - row.start
        yield row.start, pending[:, :done]
        # A copy, so that what was given away can be freed.
        pending = pending[:, done:].clone()


def _batch_size(rows: Sequence[Span], columns: Sequence[Span], *, most: int) -> int:
    """The largest power of two up to `most` by which filling up each shape's last batch adds a quarter at most."""
    shapes = Counter((row.stop - row.start, column.stop - column.start) for row in rows for column in columns)
    most_filled = 1.25 * shapes.total()
    sizes = (1 << power for power in range(most.bit_length()))
    return max(size for size in sizes if sum(-(-count // size) * size for count in shapes.values()) <= most_filled)


def _row_of_windows(
    found: Iterator[torch.Tensor], row: Span, columns: list[Span], width: int, pending: torch.Tensor | None
) -> torch.Tensor:
    """Weighted sums (C, rows of the windows, width), with what the windows above gave to their upper rows."""
    sums_ChW: torch.Tensor | None = None
    for column in columns:
        logits_Chw = next(found)
        if sums_ChW is None:
            sums_ChW = logits_Chw.new_zeros((len(logits_Chw), row.stop - row.start, width))
            if pending is not None:
                sums_ChW[:, : pending.shape[1]] = pending
        weight_hw = _outer(row.weight, column.weight, logits_Chw.device)
        sums_ChW[:, :, column.start : column.stop] += logits_Chw * weight_hw
    assert sums_ChW is not None
    return sums_ChW


def _fade(length: int, overlap: int, *, first: bool, last: bool) -> npt.NDArray[np.float64]:
    """0 over the outer quarter of the overlap, a ramp over its middle half, then 1; no fading at the image's border."""
    dropped = overlap // 4
    ramp = max(1, overlap - 2 * dropped)
    inwards = np.clip((np.arange(length) + 0.5 - dropped) / ramp, 0, 1)
    weight = np.ones(length)
    if not first:
        weight = np.minimum(weight, inwards)
    if not last:
        weight = np.minimum(weight, inwards[::-1])
    return weight


def _outer(row: npt.NDArray[np.float32], column: npt.NDArray[np.float32], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(row[:, None] * column[None, :]).to(device)
