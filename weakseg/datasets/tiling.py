"""From a source file to records: decode, check, resize or cut into fixed windows."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg import codec
from weakseg.datasets.layout import Layout, Source, has_coarse
from weakseg.errors import DataError, ImageError


@dataclass(frozen=True)
class Record:
    """One row of the `images` table with its mask.

    Args:
        image_id: The source's, with "@y,x" appended for a window.
        split: train, val or test.
        group: What a split must not cut through.
        image: Encoded: the original bytes, or a PNG after a resize, a cut or a conversion to 8-bit RGB.
        height: Of `image`, in pixels.
        width: Of `image`, in pixels.
        source: Path of the file relative to the data folder.
        origin_y: First row of the window, in the resized image if `size` was given too.
        origin_x: First column of the window.
        source_height: Of the upright file.
        source_width: Of the upright file.
        sha256: Of `image`, hexadecimal.
        mask: Class indices, uint8 (height, width), 255 = void; None where there is none.
        coarse: The same, coarsely annotated, 255 = unlabelled; None where there is none or it was not asked for.
    """

    image_id: str
    split: str
    group: str
    image: bytes
    height: int
    width: int
    source: str
    origin_y: int
    origin_x: int
    source_height: int
    source_width: int
    sha256: str
    mask: npt.NDArray[np.uint8] | None
    coarse: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Coarse:
    """Where coarse label maps come from.

    Args:
        source: "masks": made from the full masks; "layout": the data set's own.
        erosion: Half-width of the square by which a class is eroded, in pixels of the original; for masks.
        tolerance: Of the outlines' simplification, as a share of their length; for masks.
    """

    source: Literal["masks", "layout"] = "masks"
    erosion: int = 12
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        """Refuse another source."""
        if self.source not in ("masks", "layout"):
            raise ValueError(f"coarse labels come from masks or layout, got {self.source!r}")


class Coarsen(Protocol):
    """What makes a coarse label map from a full mask, such as `weakseg.supervision.coarsen`."""

    def __call__(self, mask_HW: npt.NDArray[np.uint8], /, *, erosion: int, tolerance: float) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), 255 = unlabelled."""


def records(
    layout: Layout,
    source: Source,
    *,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    coarse: Coarse | None = None,
    coarsen: Coarsen | None = None,
) -> list[Record]:
    """Read one source and make its records.

    Args:
        layout: Where the source comes from.
        source: The image.
        size: (height, width) to which whole images are resized: bilinear with antialiasing, masks by nearest pixel.
        tile: (height, width) of windows into which the image is cut, after the resize if both are given.
        coarse: Where coarse label maps come from; they are made at the original size, then resized and cut as masks
            are. None makes none. An image without a mask (or without an annotation of the layout) has none.
        coarsen: Makes them, where they come from masks; called with `erosion` and `tolerance`.

    Returns:
        One record, or one for each window in reading order.

    Raises:
        ImageError: The image (or the mask's file) cannot be decoded, or no window fits: to be quarantined.
        DataError: The mask has another size than the image, or a class or colour that is not known: to be put right;
            or coarse labels are asked of a layout that has none.
        ValueError: Coarse labels from masks without `coarsen`.
    """
    data, mask_data = layout.read(source)
    image_HW3 = _in_words(source.image, lambda: codec.decode_image(data))
    height, width = image_HW3.shape[:2]
    mask_HW = None
    if mask_data is not None:
        mask_HW = _in_words(str(source.mask), lambda: layout.decode_mask(mask_data))
        _check_size(f"{source.mask}: the mask", mask_HW, source, (height, width))
    coarse_HW = None if coarse is None else _coarse_map(layout, source, mask_HW, coarse, coarsen)
    if coarse_HW is not None:
        _check_size(f"{source.image}: its coarse annotation", coarse_HW, source, (height, width))
    kept: bytes | None = data if codec.is_plain(data) else None
    if size is not None and size != (height, width):
        image_HW3, kept = resize_image(image_HW3, size), None
        mask_HW, coarse_HW = resize_mask(mask_HW, size), resize_mask(coarse_HW, size)
    if tile is None:
        cuts = [("", 0, 0, image_HW3, mask_HW, coarse_HW)]
    else:
        kept = None
        cuts = [
            (
                f"@{y},{x}",
                y,
                x,
                image_HW3[y : y + tile[0], x : x + tile[1]],
                _window(mask_HW, y, x, tile),
                _window(coarse_HW, y, x, tile),
            )
            for y, x in windows(image_HW3.shape[0], image_HW3.shape[1], tile)
        ]
        if not cuts:
            raise ImageError(
                f"{source.image}: {image_HW3.shape[0]}x{image_HW3.shape[1]} (height x width) "
                f"is smaller than the window {tile[0]}x{tile[1]}"
            )
    found = []
    for suffix, y, x, cut_HW3, cut_HW, cut_coarse_HW in cuts:
        encoded = codec.encode_png(cut_HW3) if kept is None else kept
        found.append(
            Record(
                image_id=source.image_id + suffix,
                split=source.split,
                group=source.group,
                image=encoded,
                height=cut_HW3.shape[0],
                width=cut_HW3.shape[1],
                source=source.image,
                origin_y=y,
                origin_x=x,
                source_height=height,
                source_width=width,
                sha256=hashlib.sha256(encoded).hexdigest(),
                mask=cut_HW,
                coarse=cut_coarse_HW,
            )
        )
    return found


def windows(height: int, width: int, tile: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Origins (y, x) of the windows of a floor grid: from the top left, without overlap, the rest left out.

    Raises:
        ValueError: A side of the window is below 1.
    """
    if min(tile) < 1:
        raise ValueError(f"a window of at least 1x1 pixels, got {tile[0]}x{tile[1]}")
    for y in range(0, height - tile[0] + 1, tile[0]):
        for x in range(0, width - tile[1] + 1, tile[1]):
            yield y, x


def resize_image(image_HW3: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize to (height, width): bilinear, antialiased when it shrinks."""
    return np.array(Image.fromarray(image_HW3).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def resize_mask(mask_HW: npt.NDArray[np.uint8] | None, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """Resize class indices to (height, width) by the nearest pixel; None stays None."""
    if mask_HW is None:
        return None
    # In integers: Pillow adds up floats and misses pixels whose centre falls on a border.
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask_HW.shape, strict=True))
    return mask_HW[np.ix_(rows, columns)]


def _coarse_map(
    layout: Layout, source: Source, mask_HW: npt.NDArray[np.uint8] | None, coarse: Coarse, coarsen: Coarsen | None
) -> npt.NDArray[np.uint8] | None:
    """The coarse label map at the original size."""
    if coarse.source == "masks":
        if coarsen is None:
            raise ValueError(
                "coarse labels from masks need coarsen=weakseg.supervision.coarsen (or your own), got None"
            )
        return None if mask_HW is None else coarsen(mask_HW, erosion=coarse.erosion, tolerance=coarse.tolerance)
    if not has_coarse(layout):
        raise DataError(f"layout {layout.name} has no coarse annotations of its own: make them from its masks")
    data = layout.read_coarse(source)
    if data is None:
        return None
    what = f"{source.image}: its coarse annotation"
    try:
        return _in_words(what, lambda: layout.decode_mask(data))
    except ImageError as error:  # it is no reason to leave out the image, which others may use without it
        raise DataError(f"{error}; put the file right, or remove it") from error


def _check_size(what: str, found_HW: npt.NDArray[np.uint8], source: Source, size: tuple[int, int]) -> None:
    if found_HW.shape != size:
        raise DataError(
            f"{what} is {found_HW.shape[0]}x{found_HW.shape[1]} (height x width), but its image "
            f"{source.image} is {size[0]}x{size[1]}: export the mask at the image's size"
        )


def _window(
    mask_HW: npt.NDArray[np.uint8] | None, y: int, x: int, tile: tuple[int, int]
) -> npt.NDArray[np.uint8] | None:
    return None if mask_HW is None else mask_HW[y : y + tile[0], x : x + tile[1]].copy()


def _in_words(path: str, decode: Callable[[], npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Decode, and put the file's name before whatever is wrong with it."""
    try:
        return decode()
    except DataError as error:
        raise type(error)(f"{path}: {error}") from error
