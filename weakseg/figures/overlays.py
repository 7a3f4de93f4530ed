"""Masks and queried points over their image."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from weakseg.datasets.classes import Classes, Color
from weakseg.schema import VOID

_VOID_COLOR = (140, 140, 140)
_PAPER = (255, 255, 255)
_INK = (40, 40, 46)
_MARGIN = 12
_TEXT = 15
_TILE = 320
"""Tiles narrower than this are enlarged by a whole factor, so that pixels stay visible as squares."""


def overlay(
    image_HW3: npt.NDArray[np.uint8], mask_HW: npt.NDArray[np.uint8], colors: Sequence[Color], *, alpha: float = 0.55
) -> npt.NDArray[np.uint8]:
    """Paint class colours over an image; void pixels stay as they are.

    Args:
        image_HW3: RGB, uint8.
        mask_HW: Class indices, 255 = void.
        colors: RGB in 0..255, one per class.
        alpha: Share of the colour, from 0 (image alone) to 1 (colours alone).

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        ValueError: If sizes differ, alpha is out of range, or the mask holds a class without a colour.
    """
    _check(image_HW3, mask_HW, colors)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    table = np.zeros((256, 3), np.float32)
    table[: len(colors)] = np.asarray(colors, np.float32).reshape(-1, 3)
    share_HW1 = np.where(mask_HW == VOID, 0.0, alpha).astype(np.float32)[..., None]
    mixed_HW3 = image_HW3 * (1 - share_HW1) + table[mask_HW] * share_HW1
    return np.rint(mixed_HW3).astype(np.uint8)


def draw_points(
    image_HW3: npt.NDArray[np.uint8],
    points_N2: npt.NDArray[np.generic],
    labels_N: npt.NDArray[np.integer],
    colors: Sequence[Color],
    *,
    radius: float = 4.0,
) -> npt.NDArray[np.uint8]:
    """Draw labelled points as dots of their class's colour; a void answer is grey with a hole.

    A white ring inside a black one makes a dot visible on every background, also on its own colour.

    Args:
        image_HW3: RGB, uint8.
        points_N2: (y, x) in pixels, an integer being a pixel's centre; outside the image they are cut off.
        labels_N: Their classes, 255 = void.
        colors: RGB in 0..255, one per class.
        radius: Of the coloured disc, in pixels, above 0; the rings come on top.

    Returns:
        A new image, uint8 (H, W, 3).

    Raises:
        ValueError: If points and labels do not fit together, a label has no colour, or the radius is not positive.
    """
    points_N2, labels_N = np.asarray(points_N2, np.float64).reshape(-1, 2), np.asarray(labels_N).reshape(-1)
    if len(points_N2) != len(labels_N):
        raise ValueError(f"expected one label per point, got {len(points_N2)} points and {len(labels_N)} labels")
    _check_labels(labels_N, colors)
    if radius <= 0:
        raise ValueError(f"radius must be above 0 pixels, got {radius}")
    canvas_HW3 = image_HW3.astype(np.float32)
    ring = max(1.0, radius / 3)
    for (y, x), label in zip(points_N2, labels_N.tolist(), strict=True):
        discs = [(radius + 2 * ring, (0, 0, 0)), (radius + ring, (255, 255, 255))]
        if label == VOID:
            discs += [(radius, _VOID_COLOR), (radius / 2.5, (255, 255, 255))]
        else:
            discs.append((radius, colors[label]))
        for reach, color in discs:
            _disc(canvas_HW3, y, x, reach, color)
    return np.rint(canvas_HW3).astype(np.uint8)


def legend(classes: Classes, *, width: int = 640, void: bool = False) -> npt.NDArray[np.uint8]:
    """The classes' colours and names, in as many lines as the width asks for.

    Args:
        classes: Names and colours.
        width: Of the result, in pixels.
        void: Whether to explain the void dot too.

    Returns:
        RGB, uint8 (height, width, 3), on white.
    """
    entries: list[tuple[str, Color | None]] = list(zip(classes.names, classes.colors, strict=True))
    if void:
        entries.append(("void answer", None))
    font = _font(_TEXT)
    row, gap = round(_TEXT * 1.7), _TEXT
    places, x, y = [], 0, 0
    for name, _ in entries:
        needed = gap + round(font.getlength(name)) + gap
        if x and x + needed > width:
            x, y = 0, y + row
        places.append((x, y))
        x += needed + gap // 2
    image = Image.new("RGB", (width, y + row), _PAPER)
    draw = ImageDraw.Draw(image)
    for (name, color), (left, top) in zip(entries, places, strict=True):
        box = (left, top + 5, left + _TEXT - 3, top + 5 + _TEXT - 3)
        if color is None:
            draw.ellipse(box, fill=_VOID_COLOR, outline=_INK)
        else:
            # Outlined, because a class may be white.
            draw.rectangle(box, fill=tuple(color), outline=_INK)
        draw.text((left + gap + 2, top + 2), name, fill=_INK, font=font)
    return np.asarray(image)


def panel(
    image_HW3: npt.NDArray[np.uint8],
    truth_HW: npt.NDArray[np.uint8] | None,
    prediction_HW: npt.NDArray[np.uint8],
    queried: tuple[npt.NDArray[np.generic], npt.NDArray[np.integer]] | None,
    classes: Classes,
) -> npt.NDArray[np.uint8]:
    """Image, truth and prediction side by side, with the legend below.

    Args:
        image_HW3: RGB, uint8.
        truth_HW: Class indices, 255 = void; None leaves its tile out.
        prediction_HW: Class indices.
        queried: Points (N, 2) as (y, x) and labels (N,), drawn on the image; None = none.
        classes: Names and colours.

    Returns:
        RGB, uint8.

    Raises:
        ValueError: If sizes differ or a class has no colour.
    """
    factor = max(1, -(-_TILE // image_HW3.shape[1]))
    with_points = _enlarge(image_HW3, factor)
    if queried is not None:
        points_N2 = (np.asarray(queried[0], np.float64).reshape(-1, 2) + 0.5) * factor - 0.5
        with_points = draw_points(with_points, points_N2, queried[1], classes.colors, radius=_radius(with_points))
    tiles = [("image" if queried is None else "image, queried pixels", with_points)]
    if truth_HW is not None:
        tiles.append(("truth", _enlarge(overlay(image_HW3, truth_HW, classes.colors), factor)))
    tiles.append(("prediction", _enlarge(overlay(image_HW3, prediction_HW, classes.colors), factor)))
    height, width = with_points.shape[:2]
    head = round(_TEXT * 1.7)
    total = _MARGIN + (width + _MARGIN) * len(tiles)
    void = queried is not None and bool((np.asarray(queried[1]) == VOID).any())
    key_HW3 = legend(classes, width=total - 2 * _MARGIN, void=void)
    sheet = Image.new("RGB", (total, _MARGIN + head + height + _MARGIN + len(key_HW3) + _MARGIN // 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (title, tile_HW3) in enumerate(tiles):
        left = _MARGIN + number * (width + _MARGIN)
        draw.text((left, _MARGIN // 2), title, fill=_INK, font=_font(_TEXT))
        sheet.paste(Image.fromarray(tile_HW3), (left, _MARGIN // 2 + head))
    sheet.paste(Image.fromarray(key_HW3), (_MARGIN, _MARGIN // 2 + head + height + _MARGIN))
    return np.asarray(sheet)


def _radius(image_HW3: npt.NDArray[np.uint8]) -> float:
    """Dots that are seen at a glance and still leave the image to see."""
    return float(max(2.5, min(image_HW3.shape[:2]) / 80))


def _disc(canvas_HW3: npt.NDArray[np.float32], y: float, x: float, radius: float, color: Color) -> None:
    """A disc with smooth edges, mixed into the canvas in place."""
    reach = int(np.ceil(radius)) + 1
    top, left = max(0, int(np.floor(y)) - reach), max(0, int(np.floor(x)) - reach)
    part = canvas_HW3[top : int(np.floor(y)) + reach + 2, left : int(np.floor(x)) + reach + 2]
    if part.size == 0:
        return
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    cover = np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1).astype(np.float32)[..., None]
    part *= 1 - cover
    part += cover * np.asarray(color, np.float32)


def _enlarge(image_HW3: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    return image_HW3.repeat(factor, axis=0).repeat(factor, axis=1)


def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings a font that knows most alphabets; class names are the user's.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _check(image_HW3: npt.NDArray[np.uint8], mask_HW: npt.NDArray[np.uint8], colors: Sequence[Color]) -> None:
    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8:
        raise ValueError(f"expected an image uint8 (H, W, 3), got {image_HW3.dtype} {image_HW3.shape}")
    if mask_HW.shape != image_HW3.shape[:2]:
        raise ValueError(f"expected a mask of the image's size {image_HW3.shape[:2]}, got {mask_HW.shape}")
    _check_labels(mask_HW, colors)


def _check_labels(labels: npt.NDArray[np.integer], colors: Sequence[Color]) -> None:
    used = np.unique(labels)
    bad = used[((used < 0) | (used >= len(colors))) & (used != VOID)]
    if bad.size:
        raise ValueError(f"expected classes 0..{len(colors) - 1} or {VOID} for void, got {bad.tolist()}")
