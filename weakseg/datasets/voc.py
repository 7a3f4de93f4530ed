"""PASCAL VOC 2012 segmentation (Everingham et al., IJCV 2015): photographs, 21 classes with background.

The folder is `VOCdevkit/VOC2012`: `JPEGImages/NAME.jpg`, `SegmentationClass/NAME.png` (a palette whose index is the
class, 255 = void) and `ImageSets/Segmentation/train.txt` (1,464 names) and `val.txt` (1,449).

The labels of the published test images are not public, so the test split is, as in publications, the published val
list; validation is drawn from the published train list. Photographs have no groups: each is its own.

Layout `voc_aug` trains on the 10,582 images of Hariharan et al. (ICCV 2011) instead: `SegmentationClassAug/NAME.png`
and `ImageSets/Segmentation/trainaug.txt` (or train_aug.txt), which are no part of the release. Its test is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files, text_lines
from weakseg.datasets.layout import Source, claimed_twice, read_files
from weakseg.datasets.splits import assign_splits
from weakseg.errors import DataError

CLASSES = Classes(
    names=(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
    colors=(
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
        (0, 128, 128),
        (128, 128, 128),
        (64, 0, 0),
        (192, 0, 0),
        (64, 128, 0),
        (192, 128, 0),
        (64, 0, 128),
        (192, 0, 128),
        (64, 128, 128),
        (192, 128, 128),
        (0, 64, 0),
        (128, 64, 0),
        (0, 192, 0),
        (128, 192, 0),
        (0, 64, 128),
    ),
    void_colors=((224, 224, 192),),
)

_LISTS = "ImageSets/Segmentation"
_AUGMENTED = ("trainaug.txt", "train_aug.txt")


@dataclass(frozen=True)
class Voc:
    """The layout; use :func:`open_voc`, which checks the folder.

    Args:
        files: Of the folder VOC2012, which holds JPEGImages/.
        train: The list to train on, relative to the folder.
        train_masks: The folder of its masks.
        seed: Which images of it are val.
        val: Share of it.
        name: What `data.layout` calls it.
    """

    files: Files
    train: str = f"{_LISTS}/train.txt"
    train_masks: str = "SegmentationClass"
    seed: int = 0
    val: float = 0.1
    name: str = "voc"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """The images of the train list, then those of the val list, each in the list's order."""
        drawn = assign_splits(_names(self.files, self.train), {"val": self.val}, seed=self.seed)
        for listing, folder in ((self.train, self.train_masks), (f"{_LISTS}/val.txt", "SegmentationClass")):
            for name in _names(self.files, listing):
                image, mask = f"JPEGImages/{name}.jpg", f"{folder}/{name}.png"
                for path in (image, mask):
                    if not self.files.is_file(path):
                        raise DataError(f"{listing} names {name}, but there is no {path} in {self.root}: restore it")
                split = drawn[name] if listing == self.train else "test"
                yield Source(name, split, name, image, mask)

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded image and its mask."""
        return read_files(self.files, source)

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), 255 = void, from a palette, grey indices or the palette's colours."""
        return codec.decode_mask(data, classes=self.classes)


def open_voc(files: Files, *, seed: int = 0, val: float = 0.1, augmented: bool = False) -> Voc:
    """Check the folders, and that no image is in two lists.

    Args:
        files: Of the folder VOC2012.
        seed: Which images of the train list are val.
        val: Share of the train list.
        augmented: Whether to train on the augmented list.

    Raises:
        DataError: A folder, list, image or mask is missing, or an image is listed twice.
    """
    listing, masks = f"{_LISTS}/train.txt", "SegmentationClass"
    if augmented:
        found = [name for name in _AUGMENTED if files.is_file(f"{_LISTS}/{name}")]
        listing, masks = f"{_LISTS}/{(found or _AUGMENTED)[0]}", "SegmentationClassAug"
    wanted = ["JPEGImages", "SegmentationClass", f"{_LISTS}/val.txt", listing]
    missing = [path for path in dict.fromkeys([*wanted, masks]) if not (files.is_folder(path) or files.is_file(path))]
    if missing:
        inner = next((path for path in ("VOCdevkit/VOC2012", "VOC2012") if files.is_folder(path)), None)
        remedy = f"set data.path to its {inner}" if inner else "expected the contents of VOCdevkit/VOC2012"
        if augmented and not inner and set(missing) <= {listing, masks}:
            remedy = "add them (they are no part of VOC's release), or use layout voc"
        raise DataError(f"{files.root} is not VOC 2012: no {', '.join(missing)}; {remedy}")
    layout = Voc(files, listing, masks, seed, val, "voc_aug" if augmented else "voc")
    lists = (listing, f"{_LISTS}/val.txt")
    twice = claimed_twice(lambda: ((name, path) for path in lists for name in _names(files, path)))
    if twice:
        raise DataError(f"{files.root}: {twice[0]} is named in {twice[1]} and again in {twice[2]}: keep one")
    for _ in layout.sources():  # names missing files now, not in the middle of the work
        pass
    return layout


def _names(files: Files, listing: str) -> Iterator[str]:
    """The name on every line, which may be a path and have the mask's path behind it, as in train_aug.txt."""
    try:
        for line in text_lines(files, listing):
            if line.strip():
                yield line.split()[0].rpartition("/")[2].removesuffix(".jpg")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{files.root}/{listing} cannot be read as text ({error}): write one image name per line"
        ) from error
