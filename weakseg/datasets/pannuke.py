"""PanNuke (Gamper et al., 2020): 7,901 histology images of 256x256 pixels in three folds, 5 types of nuclei.

```
Fold N/images/foldN/images.npy    (n, 256, 256, 3) numbers 0..255, float64 in the release
Fold N/images/foldN/types.npy     (n,) the tissue of each image, text; it becomes part of the image_id
Fold N/masks/foldN/masks.npy      (n, 256, 256, 6) per type the nuclei's numbers, 0 elsewhere; the sixth is background
```
for N = 1, 2 and 3, or all three arrays in `foldN/`, as many copies have it. Nothing is unpickled.

Classes are background (0) and the types in the release's order (1 to 5). A pixel that no type claims is background,
which is what the sixth channel says, so that is not read; one that two types claim (overlaps at borders) is the first.

Fold 1 is train, 2 is val, 3 is test: one of the three divisions of publications. Patches of a slide are not
marked as such; the folds are all that is known, and each image is its own group within its fold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files
from weakseg.datasets.layout import Source, member
from weakseg.datasets.npy import Array, open_array
from weakseg.datasets.splits import SPLITS
from weakseg.errors import DataError, ImageError

CLASSES = Classes(
    names=("background", "neoplastic", "inflammatory", "connective", "dead", "epithelial"),
    colors=((255, 255, 255), (220, 40, 40), (40, 180, 80), (50, 90, 230), (240, 220, 40), (250, 150, 50)),
)

TYPES = len(CLASSES) - 1


@dataclass(frozen=True)
class PanNuke:
    """The layout; use :func:`open_pannuke`, which checks the folder.

    Args:
        files: Of the folder that holds `Fold 1` and so on.
    """

    files: Files
    name: str = "pannuke"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """All images by fold and number. Only the tissues are read."""
        for fold, split in enumerate(SPLITS, 1):
            images, types, masks = _arrays(self.files, fold)
            for index, tissue in enumerate(_load(self.files, types)):
                image_id = f"fold{fold}/{str(tissue).replace('/', '_')}/{index:05d}"
                yield Source(image_id, split, image_id, f"{images}#{index}", f"{masks}#{index}")

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The image and its class indices as PNG; of the arrays, which stay on disk, one image's share is read.

        Raises:
            ImageError: The image holds other values than 0..255.
        """
        assert source.mask is not None
        image_HW3 = _pixels(_slice(self.files, source.image), source.image)
        return codec.encode_png(image_HW3), codec.encode_mask(_class_map(_slice(self.files, source.mask)))

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W); there is no void."""
        return codec.read_mask(data)


def open_pannuke(files: Files) -> PanNuke:
    """Check that the nine arrays are there and fit each other, reading no more than their headers.

    Raises:
        DataError: An array is missing, is none, or has another shape than published.
    """
    folds = [_arrays(files, fold) for fold, _ in enumerate(SPLITS, 1)]
    missing = [path for fold in folds for path in fold if not files.is_file(path)]
    if missing:
        raise DataError(
            f"{files.root} is not PanNuke: no {', '.join(missing)}; unpack fold_1.zip, fold_2.zip and fold_3.zip "
            "into it (Fold N/images/foldN/images.npy and types.npy, Fold N/masks/foldN/masks.npy)"
        )
    for images, types, masks in folds:
        shapes = [_load(files, path).shape for path in (images, types, masks)]
        count, size = shapes[1][:1], shapes[0][1:3]
        if len(count) != 1 or len(size) != 2 or shapes != [(*count, *size, 3), count, (*count, *size, TYPES + 1)]:
            shown = ", ".join(f"{path} {shape}" for path, shape in zip((images, types, masks), shapes, strict=True))
            raise DataError(
                f"the arrays of a fold in {files.root} do not fit each other: {shown}; expected (n, H, W, 3), (n,) and "
                f"(n, H, W, {TYPES + 1}): unpack the fold again"
            )
        dtype = _load(files, types).dtype
        if dtype.kind != "U":
            raise DataError(f"{types} in {files.root} holds {dtype}, expected text: unpack the fold again")
    return PanNuke(files)


def _arrays(files: Files, fold: int) -> tuple[str, str, str]:
    """The paths of a fold's images, types and masks."""
    whole = f"Fold {fold}"
    if not files.is_folder(whole) and files.is_folder(f"fold{fold}"):
        images = masks = f"fold{fold}"
    else:
        images, masks = f"{whole}/images/fold{fold}", f"{whole}/masks/fold{fold}"
    return f"{images}/images.npy", f"{images}/types.npy", f"{masks}/masks.npy"


def _load(files: Files, path: str) -> Array:
    """An array that stays in its file."""
    try:
        return open_array(files, path)
    except (OSError, EOFError, ValueError) as error:
        pickled = "object" in str(error)
        reason = "pickled objects, which are not read" if pickled else str(error).rstrip(".")
        remedy = "save it with np.save as text (astype(str)) or numbers" if pickled else "unpack the fold again"
        raise DataError(f"{path} in {files.root} cannot be read as a NumPy array ({reason}): {remedy}") from error
    except TypeError as error:
        raise DataError(f"{path} in {files.root} is {error}, expected one array: save it with np.save") from error


def _slice(files: Files, path: str) -> npt.NDArray[Any]:
    file, index = member(path)
    assert index is not None
    array: npt.NDArray[Any] = _load(files, file)[index]
    return array


def _pixels(values_HW3: npt.NDArray[Any], path: str) -> npt.NDArray[np.uint8]:
    image_HW3 = np.zeros(values_HW3.shape, np.uint8)
    inside = (values_HW3 >= 0) & (values_HW3 <= 255)  # False for NaN
    np.copyto(image_HW3, values_HW3, casting="unsafe", where=inside)
    wrong = image_HW3 != values_HW3
    if wrong.any():
        y, x, channel = np.argwhere(wrong)[0]
        raise ImageError(
            f"{path}: expected whole numbers from 0 to 255, got {values_HW3[y, x, channel]:g} at y={y}, x={x} "
            f"({int(wrong.sum())} values are none)"
        )
    return image_HW3


def _class_map(masks_HW6: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    claims_HW5 = masks_HW6[..., :TYPES] > 0
    first_HW = claims_HW5.argmax(-1).astype(np.uint8) + np.uint8(1)
    return np.where(claims_HW5.any(-1), first_HW, np.uint8(0))
