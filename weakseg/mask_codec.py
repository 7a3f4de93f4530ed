"""Mask files as people have them: class indices, palettes, colours. Everyone uses it through `weakseg.codec`."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.errors import DataError
from weakseg.image_file import opened
from weakseg.schema import VOID

if TYPE_CHECKING:
    from weakseg.datasets.classes import Classes

Bytes8: TypeAlias = npt.NDArray[np.uint8]


def decode_mask(data: bytes, *, classes: "Classes") -> Bytes8:
    """Decode a mask file: class indices, a palette, or the classes' colours.

    A grey file holds class indices (255 = void). An RGB file holds the classes' colours; transparency is
    dropped. A palette file is read by its colours where all of them are the classes' or void, otherwise by
    its indices: annotation programs number their palettes as they like.

    Args:
        data: The encoded file.
        classes: The data set's classes; their `void_colors` become 255.

    Returns:
        Class indices, uint8 (H, W), 255 = void.

    Raises:
        DataError: A class index or colour that no class has, or a file that can be read in two ways.
        ImageError: The file cannot be decoded at all.
    """
    with opened(data) as image:
        image.load()
        if image.mode == "P":
            return _palette_mask(image, classes)
        if image.mode in ("L", "1", "I;16", "I;16B", "LA"):
            indices = np.array(image.getchannel(0) if image.mode == "LA" else image)
            return check_indices(_not_black_and_white(indices.astype(np.int64), classes), classes)
        if image.mode in ("RGB", "RGBA"):
            return colors_to_indices(np.asarray(image.convert("RGB")), classes)
        raise DataError(f"a mask is 8-bit indices, palette or RGB, this one is {image.mode}: save it as such a PNG")


def decode_color_mask(data: bytes, *, classes: "Classes") -> Bytes8:
    """Decode a mask file by its colours alone, whatever its mode: arguments and errors of :func:`decode_mask`."""
    with opened(data) as image:
        image.load()
        return colors_to_indices(np.asarray(image.convert("RGB")), classes)


def colors_to_indices(rgb_HW3: Bytes8, classes: "Classes") -> Bytes8:
    """Class index of every pixel's colour, 255 for void colours.

    Raises:
        DataError: A colour that is neither a class's nor void, named as #RRGGBB.
    """
    keys, values = _color_table(classes)
    found = _color_keys(rgb_HW3)
    position = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    unknown = keys[position] != found
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        raise DataError(
            f"colour {_name(rgb_HW3[y, x])} at y={y}, x={x} ({int(unknown.sum())} pixels are of no known colour) "
            "belongs to no class: give it to a class or to void_colors in the classes, or repaint it "
            "(masks saved as JPEG or scaled smoothly have mixed colours)"
        )
    return values[position]


def check_indices(indices_HW: npt.NDArray[Any], classes: "Classes") -> Bytes8:
    """The same array as uint8, if every value is a class index or 255.

    Raises:
        DataError: Another value, named with its place.
    """
    wrong = (indices_HW < 0) | ((indices_HW >= len(classes)) & (indices_HW != VOID))
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise DataError(
            f"class index {int(indices_HW[y, x])} at y={y}, x={x} is outside the {len(classes)} classes "
            f"(0 to {len(classes) - 1}, {VOID} = void): add the class or correct the mask"
        )
    return indices_HW.astype(np.uint8)


def _name(color: Bytes8) -> str:
    return "#" + color.tobytes().hex().upper()


def _color_keys(rgb: Bytes8) -> npt.NDArray[np.uint32]:
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


def _color_table(classes: "Classes") -> tuple[npt.NDArray[np.uint32], Bytes8]:
    colors = np.array((*classes.colors, *classes.void_colors), np.uint8).reshape(-1, 3)
    values = np.array((*range(len(classes)), *[VOID] * len(classes.void_colors)), np.uint8)
    keys = _color_keys(colors)
    order = np.argsort(keys)
    return keys[order], values[order]


def _palette_mask(image: Image.Image, classes: "Classes") -> Bytes8:
    indices = np.array(image)
    used = np.unique(indices)
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    keys, values = _color_table(classes)
    meaning: dict[int, int] = dict(zip(keys.tolist(), values.tolist(), strict=True))
    by_color = {int(i): meaning.get(int(_color_keys(palette[i]))) if i < len(palette) else None for i in used}
    by_known = {index: value for index, value in by_color.items() if value is not None}
    if len(by_known) == len(by_color):
        table = np.zeros(256, np.uint8)
        table[list(by_known)] = list(by_known.values())
        return np.take(table, indices)
    if any(i >= len(classes) and i != VOID for i in by_color):  # one of these raises and names the culprit
        return (
            colors_to_indices(palette[indices], classes)
            if used.max() < len(palette)
            else check_indices(indices, classes)
        )
    for index, other in by_known.items():
        if other != index:
            unknown = next(i for i in by_color if i not in by_known)
            raise DataError(
                f"palette index {index} is painted {_name(palette[index])}, which the classes give to {other}, "
                f"but index {unknown} has a colour of no class, so neither colours nor indices can be trusted: "
                "add that colour to the classes or to void_colors"
            )
    return check_indices(indices, classes)


def _not_black_and_white(indices_HW: npt.NDArray[np.int64], classes: "Classes") -> npt.NDArray[np.int64]:
    """Refuse the usual 0/255 foreground mask: read as indices its whole foreground would be void."""
    white = (255, 255, 255) in classes.colors
    if white and VOID in indices_HW and not ((indices_HW != 0) & (indices_HW != VOID)).any():
        raise DataError(
            "a grey mask of 0 and 255 while a class is white: 255 would mean void. Save the class as its index, "
            "or the mask as RGB, or give the class another colour if 255 is void"
        )
    return indices_HW
