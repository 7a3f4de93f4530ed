"""Opening and writing image files: where everything that can be wrong with a file becomes an ImageError."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from weakseg.errors import DataError, ImageError

MAX_PIXELS = 178_956_970
"""Pillow's own limit: 0.5 GiB of RGB. Above it a file is taken for a decompression bomb."""

# Named, because Pillow would also try formats that start other programs (EPS) or that are no photographs.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM")
# Otherwise Pillow knows only its commonest formats until it has met another.
Image.init()


@contextmanager
def opened(data: bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong in the file, here or inside the block, becomes an ImageError in words.

    Args:
        data: The encoded file, or the file itself, of which no more is read than is needed.
        max_pixels: More than this is refused; it cannot exceed Pillow's own limit.

    Yields:
        The opened image, not decoded yet.

    Raises:
        ImageError: The file is empty, cut short, no image, or too large.
    """
    if isinstance(data, bytes) and not data:
        raise ImageError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(f"{width} x {height} pixels are more than the {max_pixels} allowed: cut it first")
            yield image
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not an image, or not grey, RGB or CMYK in JPEG, PNG, TIFF, WebP or BMP") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than the {MAX_PIXELS} pixels allowed (a decompression bomb?): cut it first") from error
    except Exception as error:  # a broken file makes the decoders raise anything from SyntaxError to struct.error
        raise ImageError(f"cut short or damaged ({error or type(error).__name__})") from error


def png(array: npt.NDArray[Any], *, palette: bytes | None = None) -> bytes:
    """Encode an array that Pillow knows as PNG; one of indices with its palette of RGB triples, if it has one."""
    out = io.BytesIO()
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    # On aerial photographs level 2 takes a third of the default's time, for files no larger.
    image.save(out, "PNG", compress_level=2)
    return out.getvalue()
