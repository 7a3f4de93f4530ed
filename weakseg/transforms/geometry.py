"""Where the pixels go: one resize, one crop (or padding) and one flip, for images, index maps and points alike.

A pixel's centre has integer coordinates, so a resize by s maps y to (y + 0.5) * s - 0.5. Points follow that formula
exactly; they are never drawn into a map and resized with it, where a paid label would vanish or be doubled.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2


@dataclass(frozen=True)
class Window:
    """A view on a resized image: the rectangle of ``size`` pixels whose corner lies at (top, left).

    Args:
        old: Height and width of the source.
        new: Height and width after the resize.
        top: First row seen, in pixels of the resized image; negative where the view starts in padding.
        left: First column seen.
        size: Height and width of the view.
        flip: Whether the view is mirrored left to right.
    """

    old: tuple[int, int]
    new: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]
    flip: bool

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """The part of the resized image inside the view, not mirrored: top, left, bottom, right (exclusive)."""
        bottom = min(self.new[0], self.top + self.size[0])
        right = min(self.new[1], self.left + self.size[1])
        return max(0, self.top), max(0, self.left), bottom, right

    @property
    def cuts(self) -> bool:
        """Whether the view leaves out part of the image."""
        return self.seen != (0, 0, *self.new)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """Where that part lies in the view, all else being padding: top, left, bottom, right (exclusive)."""
        top, left, bottom, right = self.seen
        top, bottom, left, right = top - self.top, bottom - self.top, left - self.left, right - self.left
        if self.flip:
            left, right = self.size[1] - right, self.size[1] - left
        return top, left, bottom, right


def place(
    old: tuple[int, int], size: tuple[int, int], *, scale: float, down: float, across: float, flip: bool
) -> Window:
    """Lay a view of ``size`` on the resized source: inside it where that is larger, around it where it is smaller.

    Args:
        old: Height and width of the source.
        size: Height and width of the view.
        scale: Factor of the resize; the new size is rounded to whole pixels and points use that rounded ratio.
        down: Position among all possible rows, in [0, 1).
        across: Position among all possible columns, in [0, 1).
        flip: Whether to mirror left to right.

    Returns:
        The window.
    """
    height, width = max(1, round(old[0] * scale)), max(1, round(old[1] * scale))
    top = _offset(height - size[0], down)
    left = _offset(width - size[1], across)
    return Window(old, (height, width), top, left, size, flip)


def _offset(slack: int, position: float) -> int:
    """One of the whole offsets between 0 and slack, of either sign."""
    return min(0, slack) + int(position * (abs(slack) + 1))


def warp_image(image_3HW: Tensor, window: Window) -> Tensor:
    """Resize (bilinear, antialiased), crop and flip; padding is left to :func:`pad`.

    Args:
        image_3HW: uint8, of the window's old size.
        window: The view.

    Returns:
        uint8, 3 x the size of ``window.content``.
    """
    top, left, bottom, right = window.seen
    # uint8 on purpose: torchvision then takes the vectorised kernel, four times as fast as float
    resized: Tensor = v2.functional.resize(image_3HW, list(window.new), antialias=True)
    resized = resized[:, top:bottom, left:right]
    return resized.flip(-1) if window.flip else resized


def warp_map(map_HW: Tensor, window: Window, *, fill: int) -> Tensor:
    """Resize an index map to the nearest source pixel, crop, flip and pad with ``fill``.

    Args:
        map_HW: Any integer type, of the window's old size.
        window: The view.
        fill: The value of padding.

    Returns:
        The map in the view, of the same type.
    """
    top, left, bottom, right = window.seen
    rows = _nearest(top, bottom, window.old[0], window.new[0])
    columns = _nearest(left, right, window.old[1], window.new[1])
    if window.flip:
        columns = columns.flip(0)
    return pad(map_HW.index_select(0, rows).index_select(1, columns), window, fill=fill)


def warp_sparse(labels_HW: Tensor, window: Window, *, none: int) -> Tensor:
    """:func:`warp_map` for a map of a few labelled spots: none of them vanishes between the pixels that are read.

    A labelled pixel keeps the pixel it falls on where neither that one nor one beside it has its label.

    Args:
        labels_HW: Any integer type, of the window's old size.
        window: The view.
        none: Where nothing is labelled, and the value of padding.

    Returns:
        The map in the view, of the same type.
    """
    warped_HW = warp_map(labels_HW, window, fill=none)
    spots_HW = labels_HW != none
    moved_M2, seen_N = warp_points(spots_HW.nonzero().double(), window)
    # A mirrored point on the very edge rounds to the pixel beyond it.
    y_M, x_M = (moved_M2 + 0.5).long().minimum(torch.tensor(window.size) - 1).T
    label_M = labels_HW[spots_HW][seen_N]
    beside_HW = torch.nn.functional.pad(warped_HW, (1, 1, 1, 1), value=none)
    steps = [(down, across) for down in range(3) for across in range(3)]
    there_M = torch.stack([beside_HW[y_M + down, x_M + across] == label_M for down, across in steps]).any(dim=0)
    lost_M = ~there_M
    for y, x, label in zip(y_M[lost_M].tolist(), x_M[lost_M].tolist(), label_M[lost_M].tolist(), strict=True):
        if warped_HW[y, x] == none:  # of several that fall on one pixel the first stays
            warped_HW[y, x] = label
    return warped_HW


def _nearest(start: int, stop: int, old: int, new: int) -> Tensor:
    """The source index under the centre of each resized pixel: floor((i + 0.5) * old / new), in whole numbers."""
    return (2 * torch.arange(start, stop) + 1) * old // (2 * new)


def pad(content: Tensor, window: Window, *, fill: float | Tensor) -> Tensor:
    """Put what the window sees in its place and fill the rest.

    Args:
        content: (..., h, w) of the size of ``window.content``; one channel is enough where ``fill`` has more.
        window: The view.
        fill: One value, or one per channel (C, 1, 1).

    Returns:
        (..., H, W) of the view's size.
    """
    top, left, bottom, right = window.content
    if isinstance(fill, Tensor):
        canvas = fill.expand(fill.shape[0], *window.size).contiguous()
    else:
        canvas = content.new_full((*content.shape[:-2], *window.size), fill)
    canvas[..., top:bottom, left:right] = content
    return canvas


def warp_points(points_N2: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Carry points through the window: y' = (y + 0.5) * s - 0.5 - top, mirrored to W - 1 - x'.

    Args:
        points_N2: Float (y, x); an integer is a pixel's centre.
        window: The view.

    Returns:
        The points still in view (M, 2) of the same type, and which of the N they are (N, bool). A point is in view
        while it lies on one of the view's pixels: -0.5 <= y' < H - 0.5.
    """
    ratio = torch.tensor([n / o for n, o in zip(window.new, window.old, strict=True)], dtype=torch.float64)
    corner = torch.tensor([window.top, window.left], dtype=torch.float64)
    size = torch.tensor(window.size, dtype=torch.float64)
    moved = (points_N2.double() + 0.5) * ratio - 0.5 - corner
    kept_N = ((moved >= -0.5) & (moved < size - 0.5)).all(dim=1)
    moved = moved[kept_N]
    if window.flip:
        moved[:, 1] = window.size[1] - 1 - moved[:, 1]
    return moved.to(points_N2.dtype), kept_N
