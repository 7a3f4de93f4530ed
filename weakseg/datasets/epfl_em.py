"""EPFL electron microscopy of the hippocampus (Lucchi et al., IEEE TMI 2012): mitochondria, 2 classes.

Two stacks of 165 grey slices of 768x1024 pixels (5 nm a voxel), each a TIFF file with a page per slice: `training.tif`
and `testing.tif`, with `training_groundtruth.tif` and `testing_groundtruth.tif` (0 = background, 255 = mitochondria).
A slice is an image; `data.tile: [256, 256]` cuts it into 12: 1,980 of each stack.

The testing stack is test. Neighbouring slices are nearly the same, so validation is one block, the last slices of the
training stack, and a block is the group: only where the two blocks meet do slices of train and val look alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files
from weakseg.datasets.layout import Source, member
from weakseg.errors import DataError, ImageError
from weakseg.image_file import opened, png

CLASSES = Classes(names=("background", "mitochondria"), colors=((0, 0, 0), (255, 255, 255)))

_STACKS = ("training", "testing")


@dataclass(frozen=True)
class EpflEm:
    """The layout; use :func:`open_epfl_em`, which checks the folder.

    Args:
        files: Of the folder that holds the four stacks.
        val: Share of the training stack's slices, its last ones.
    """

    files: Files
    val: float = 0.2
    name: str = "epfl_em"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """All slices in their order: the training stack, then the testing stack."""
        for stack in _STACKS:
            count = _slices(self.files, f"{stack}.tif")
            border = count - self._held(count) if stack == "training" else 0
            for index in range(count):
                split = "test" if stack == "testing" else "train" if index < border else "val"
                first, end = (0, border) if index < border else (border, count)
                yield Source(
                    f"{stack}/{index:03d}",
                    split,
                    f"{stack}/{first:03d}-{end - 1:03d}",
                    f"{stack}.tif#{index}",
                    f"{stack}_groundtruth.tif#{index}",
                )

    def _held(self, count: int) -> int:
        """How many slices are val: at least one, if there are to be some."""
        return min(max(round(count * self.val), 1), count - 1) if self.val > 0 else 0

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """One slice and its mask as PNG; of the stacks no more is read.

        Raises:
            ImageError: The page is damaged.
        """
        assert source.mask is not None
        return _page(self.files, source.image), _page(self.files, source.mask)

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), from 0 and 255; there is no void."""
        with opened(data) as image:
            grey_HW = np.array(image.convert("L"))
        wrong = (grey_HW != 0) & (grey_HW != 255)
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            raise DataError(
                f"grey {grey_HW[y, x]} at y={y}, x={x} ({int(wrong.sum())} such pixels): expected 0 (background) and "
                "255 (mitochondria) alone; restore the file (a mask must not be compressed as JPEG or scaled smoothly)"
            )
        return np.where(grey_HW == 255, np.uint8(1), np.uint8(0))


def open_epfl_em(files: Files, *, val: float = 0.2) -> EpflEm:
    """Check that the stacks are there and that every slice has a mask.

    Args:
        files: Of the folder that holds the four stacks.
        val: Share of the training stack's slices, its last ones.

    Raises:
        DataError: A stack is missing or cannot be read, or has another number of slices than its ground truth.
    """
    stacks = [f"{stack}{kind}.tif" for stack in _STACKS for kind in ("", "_groundtruth")]
    missing = [file for file in stacks if not files.is_file(file)]
    if missing:
        raise DataError(f"{files.root} is not EPFL EM: no {', '.join(missing)}; expected {', '.join(stacks)}")
    for stack in _STACKS:
        image, mask = f"{stack}.tif", f"{stack}_groundtruth.tif"
        slices, masks = _slices(files, image), _slices(files, mask)
        if slices != masks:
            raise DataError(
                f"{image} has {slices} slices but {mask} has {masks} (165 each in the release): "
                f"restore the shorter one in {files.root}"
            )
    return EpflEm(files, val)


def _slices(files: Files, file: str) -> int:
    """How many pages a stack has; only their headers are read."""
    try:
        with files.open(file) as stream, opened(stream) as image:
            return int(getattr(image, "n_frames", 1))
    except OSError as error:
        raise DataError(
            f"{file} cannot be read in {files.root} ({error.strerror}): restore it and try again"
        ) from error
    except ImageError as error:
        raise DataError(f"{file} in {files.root} cannot be read as a TIFF stack ({error}): restore it") from error


def _page(files: Files, path: str) -> bytes:
    file, index = member(path)
    try:
        with files.open(file) as stream, opened(stream) as image:
            image.seek(index or 0)
            return png(np.array(image))
    except OSError as error:
        raise DataError(
            f"{file} cannot be read in {files.root} ({error.strerror}): restore it and try again"
        ) from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
