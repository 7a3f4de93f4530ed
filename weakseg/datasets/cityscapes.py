"""Cityscapes (Cordts et al., CVPR 2016): street scenes of 1024x2048 pixels, fine and coarse annotations, 19 classes.

```
leftImg8bit/{train,val,train_extra}/CITY/CITY_SEQ_FRAME_leftImg8bit.png
gtFine/{train,val}/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png
gtCoarse/{train,val,train_extra}/CITY/CITY_SEQ_FRAME_gtCoarse_labelIds.png
```
Annotations are read from `labelIds` alone (what the archives hold; `labelTrainIds` has to be made first and is passed
over): ids 0 to 33, of which 19 are classes and the rest is void, as in the authors' evaluation.

The labels of the published test images are not public, so the test split is, as in publications, the published val
folder (500 images of 3 cities), and the published test folder is left out. Validation is whole cities of the
published train folder (2,975 images of 18 cities): frames of one city look alike, so a city, the group, is never cut.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files, LocalFiles
from weakseg.datasets.layout import Source, images_under, read_file, read_files
from weakseg.datasets.splits import assign_splits
from weakseg.errors import DataError
from weakseg.schema import VOID

CLASSES = Classes(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    colors=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
    void_colors=((0, 0, 0),),
)

CLASS_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The `labelIds` of the classes, in their order."""

_LAST_ID = 33
_TABLE = np.full(256, VOID, np.uint8)
_TABLE[list(CLASS_IDS)] = np.arange(len(CLASS_IDS))

_ARCHIVES = {
    "leftImg8bit": "leftImg8bit_trainvaltest.zip",
    "leftImg8bit/train_extra": "leftImg8bit_trainextra.zip",
    "gtFine": "gtFine_trainvaltest.zip",
    "gtCoarse": "gtCoarse.zip",
}


@dataclass(frozen=True)
class Cityscapes:
    """The layout; use :func:`open_cityscapes`, which checks the folder.

    Args:
        files: Of the folder that holds leftImg8bit/ and gtFine/.
        seed: Which cities are val.
        val: Share of the published train images.
        train_extra: Whether the images that have coarse annotations only are there for training too.
    """

    files: Files
    seed: int = 0
    val: float = 0.1
    train_extra: bool = False
    name: str = "cityscapes"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """The published train, val and, if asked for, train_extra images, each by city and name. A city is a group."""
        groups = (
            _group(image) for image in images_under(self.files, "leftImg8bit/train", recursive=True, unique=False)
        )
        drawn = assign_splits(groups, {"val": self.val}, seed=self.seed)
        for folder in ("train", "val", *(["train_extra"] if self.train_extra else [])):
            for image in images_under(self.files, f"leftImg8bit/{folder}", recursive=True):
                group = _group(image)
                split = "test" if folder == "val" else drawn[group] if folder == "train" else "train"
                mask = None if folder == "train_extra" else _annotation(image, "gtFine")
                if mask is not None and not self.files.is_file(mask):
                    raise DataError(f"{image} has no mask: expected {mask} in {self.root}")
                yield Source("/".join(_parts(image)), split, group, image, mask)

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded image and, but for train_extra, its fine annotation."""
        return read_files(self.files, source)

    def read_coarse(self, source: Source) -> bytes | None:
        """The coarse annotation (gtCoarse), None where the image has none."""
        path = _annotation(source.image, "gtCoarse")
        try:
            return read_file(self.files, path)
        except DataError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), from a fine or coarse `labelIds` file; ids that are no class become 255."""
        ids_HW = codec.read_mask(data)
        unknown = (ids_HW > _LAST_ID) & (ids_HW != VOID)
        if unknown.any():
            y, x = np.argwhere(unknown)[0]
            raise DataError(
                f"id {ids_HW[y, x]} at y={y}, x={x} is none of Cityscapes' labelIds (0 to {_LAST_ID}): "
                "restore the file from the archive"
            )
        return _TABLE[ids_HW]


def open_cityscapes(
    root: PathLike[str] | Files, *, seed: int = 0, val: float = 0.1, coarse: bool = False, train_extra: bool = False
) -> Cityscapes:
    """Check that what is asked for is there.

    Args:
        root: The folder that holds leftImg8bit/ and gtFine/, or its files wherever they lie.
        seed: Which cities are val.
        val: Share of the published train images; a city stays whole.
        coarse: Whether the coarse annotations will be needed: then every published train image must have one.
        train_extra: Whether to train on the images that have coarse annotations only, too.

    Raises:
        DataError: A folder or an annotation is missing, or a file is not named as published.
    """
    files = LocalFiles(str(root)) if isinstance(root, PathLike) else root
    wanted = [f"{kind}/{folder}" for folder in ("train", "val") for kind in ("leftImg8bit", "gtFine")]
    wanted += ["gtCoarse/train"] if coarse else []
    wanted += ["leftImg8bit/train_extra", "gtCoarse/train_extra"] if train_extra else []
    missing = [folder for folder in wanted if not files.is_folder(folder)]
    if missing:
        there = ", ".join(sorted(f"{entry.name}/" for entry in files.entries("") if entry.is_dir())) or "no folder"
        archives = dict.fromkeys(_ARCHIVES.get(folder) or _ARCHIVES[folder.split("/")[0]] for folder in missing)
        raise DataError(
            f"{files.root} is not Cityscapes as it is asked for: no {', '.join(missing)} (there is {there}); "
            f"unpack {' and '.join(archives)} into it"
            + (", or set supervision.coarse to masks" if missing == ["gtCoarse/train"] else "")
        )
    layout = Cityscapes(files, seed, val, train_extra)
    for source in layout.sources():  # names missing masks now, not in the middle of the work
        annotation = _annotation(source.image, "gtCoarse")
        if coarse and "/train/" in source.image and not files.is_file(annotation):
            raise DataError(f"{source.image} has no coarse annotation: expected {annotation} in {files.root}")
    return layout


def _parts(image: str) -> tuple[str, str, str]:
    """Folder, city and name, as in ("train", "aachen", "aachen_000000_000019")."""
    match = re.fullmatch(r"leftImg8bit/([^/]+)/([^/]+)/([^/]+)_leftImg8bit\.\w+", image)
    if match is None:
        raise DataError(f"{image} is not named as in Cityscapes: expected CITY/CITY_SEQ_FRAME_leftImg8bit.png")
    return match[1], match[2], match[3]


def _group(image: str) -> str:
    return "/".join(_parts(image)[:2])


def _annotation(image: str, kind: str) -> str:
    folder, city, name = _parts(image)
    return f"{kind}/{folder}/{city}/{name}_{kind}_labelIds.png"
