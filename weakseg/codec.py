"""Bytes to arrays and back: images as people really have them, masks, segment maps.

Everything that leaves here is plain: right-way-up 8-bit RGB, class indices with 255 for void, segment ids.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from weakseg.errors import DataError, ImageError
from weakseg.image_file import MAX_PIXELS, opened, png
from weakseg.mask_codec import check_indices, colors_to_indices, decode_color_mask, decode_mask

__all__ = [
    "MAX_PIXELS",
    "check_indices",
    "colors_to_indices",
    "decode_color_mask",
    "decode_image",
    "decode_mask",
    "decode_segments",
    "encode_mask",
    "encode_palette",
    "encode_png",
    "encode_segments",
    "image_size",
    "is_plain",
    "read_mask",
]

Bytes8: TypeAlias = npt.NDArray[np.uint8]


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Bytes8:
    """Decode any usual image file to right-way-up 8-bit RGB.

    Grey and palette images become RGB, 16-bit values are scaled to 8 bits (65535 becomes 255), CMYK is
    converted without a colour profile, transparency is composited on white, the EXIF orientation is
    applied. Of a file with several frames the first is taken.

    Args:
        data: The encoded file.
        max_pixels: More than this is refused before it is decoded; it cannot exceed Pillow's own limit.

    Returns:
        The image, uint8 (H, W, 3).

    Raises:
        ImageError: The file is empty, cut short, no image, too large, or of a kind without a defined white
            (32-bit integers or floats); the text says which.
    """
    with opened(data, max_pixels=max_pixels) as image:
        _refuse_deep_planes(image)
        image.load()
        upright = ImageOps.exif_transpose(image) if _orientation(image) != 1 else image
        return np.array(_as_rgb(upright))


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width of the right-way-up image, from the file's header alone.

    Raises:
        ImageError: The file is empty, no image, or too large.
    """
    with opened(data) as image:
        # Pillow swaps the sides of a rotated TIFF itself.
        turned = image.format != "TIFF" and 5 <= _orientation(image) <= 8
        width, height = image.size
        return (width, height) if turned else (height, width)


def is_plain(data: bytes) -> bool:
    """Whether any decoder reads the file as the same upright 8-bit RGB: then its bytes can be kept as they are.

    Args:
        data: An encoded image that :func:`decode_image` accepts.

    Returns:
        True for an 8-bit RGB JPEG, PNG or WebP without rotation, transparency or further frames.
    """
    with opened(data) as image:
        deep = image.format == "PNG" and data[24] != 8  # the bit depth in the header: Pillow hides it
        return (
            image.format in ("JPEG", "PNG", "WEBP")
            and image.mode == "RGB"
            and not deep
            and not image.has_transparency_data
            and _orientation(image) == 1
            and getattr(image, "n_frames", 1) == 1
        )


def encode_png(array: Bytes8) -> bytes:
    """Encode a grey (H, W) or RGB (H, W, 3) uint8 array as PNG."""
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"expected uint8 (H, W) or (H, W, 3), got {array.dtype} {array.shape}")
    return png(array)


def encode_mask(mask_HW: Bytes8) -> bytes:
    """Encode class indices, uint8 (H, W), as our own 8-bit PNG."""
    if mask_HW.dtype != np.uint8 or mask_HW.ndim != 2:
        raise ValueError(f"expected a uint8 (H, W) mask, got {mask_HW.dtype} {mask_HW.shape}")
    return png(mask_HW)


def encode_palette(mask_HW: Bytes8, colors: Sequence[tuple[int, int, int]]) -> bytes:
    """Encode class indices as a palette PNG: the pixels hold the indices, viewers show the classes' colours.

    Args:
        mask_HW: Class indices, uint8 (H, W).
        colors: RGB in 0..255, one per class; indices beyond them, such as 255 for void, are shown black.
    """
    if mask_HW.dtype != np.uint8 or mask_HW.ndim != 2:
        raise ValueError(f"expected a uint8 (H, W) mask, got {mask_HW.dtype} {mask_HW.shape}")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = np.asarray(colors, np.uint8).reshape(-1, 3)
    return png(mask_HW, palette=palette.tobytes())


def read_mask(data: bytes) -> Bytes8:
    """Decode an 8-bit PNG of class indices, unchecked: what :func:`encode_mask` wrote.

    Raises:
        DataError: The file is not 8-bit indices (an :class:`ImageError` where it cannot be decoded at all).
    """
    with opened(data) as image:
        if image.mode not in ("L", "P"):
            raise DataError(f"expected a mask of 8-bit class indices, this one is {image.mode}: save it as 8-bit grey")
        return np.array(image)


def encode_segments(segments_HW: npt.NDArray[np.integer[Any]]) -> bytes:
    """Encode segment ids 0 to 65534, integer (H, W), as a 16-bit PNG."""
    if segments_HW.ndim != 2 or segments_HW.size == 0:
        raise ValueError(f"expected (H, W) segments, got shape {segments_HW.shape}")
    low, high = int(segments_HW.min()), int(segments_HW.max())
    if low < 0 or high >= 65535:
        raise ValueError(f"segment ids must be 0 to 65534 to fit 16 bits, got {low} to {high}: ask for fewer segments")
    return png(segments_HW.astype(np.uint16))


def decode_segments(data: bytes) -> npt.NDArray[np.int32]:
    """Decode what :func:`encode_segments` wrote to int32 (H, W)."""
    with opened(data) as image:
        return np.array(image).astype(np.int32)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        values = np.asarray(image).astype(np.uint32)
        if getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
            values = 65535 - values  # white is zero, which Pillow heeds in 8 bits only
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError("32-bit pixels have no defined black and white: convert the file to 8 or 16 bits first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _refuse_deep_planes(image: Image.Image) -> None:
    """Pillow reads a 16-bit TIFF whose channels lie one after the other as noise."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(ExifTags.Base.PlanarConfiguration, 1) == 2 and max(tags.get(ExifTags.Base.BitsPerSample, (8,))) > 8:
        raise ImageError("a 16-bit TIFF with separate colour planes: save it with interleaved channels")


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))
