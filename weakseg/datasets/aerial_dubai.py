"""Aerial Dubai (Humans in the Loop, 72 satellite images in 8 tiles) in Kaggle's layout, 6 classes.

`Tile N/images/image_part_00M.jpg` with `Tile N/masks/image_part_00M.png`. Masks are colours, in tiles 2 and 4
with a palette; black is undocumented: void. "Unlabeled" stays class 5, as published results count it.

Tiles 2, 4 and 5 are test (324 of the 1,647 patches of 224x224): patches of one tile look alike, a random split
would leak. Validation takes whole images of the other tiles, from every tile its share.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files
from weakseg.datasets.layout import MASK_SUFFIXES, Source, images_under, read_files, stem
from weakseg.datasets.splits import assign_splits
from weakseg.errors import DataError

CLASSES = Classes(
    names=("building", "land", "road", "vegetation", "water", "unlabeled"),
    colors=((60, 16, 152), (132, 41, 246), (110, 193, 228), (254, 221, 58), (226, 169, 41), (155, 155, 155)),
    void_colors=((0, 0, 0),),
)

TEST_TILES = (2, 4, 5)


@dataclass(frozen=True)
class AerialDubai:
    """The layout; use :func:`open_aerial_dubai`, which checks the folder.

    Args:
        files: Of the folder that holds `Tile 1` and so on.
        seed: Which images of a tile are val.
        val: Share of the images of each tile that is not test.
    """

    files: Files
    seed: int = 0
    val: float = 0.2
    name: str = "aerial_dubai"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """All images by tile and part. The image is the group: its patches stay together."""
        for number, tile in _tiles(self.files):
            images = list(images_under(self.files, f"{tile}/images"))  # nine
            ids = [f"{tile}/{stem(image).rpartition('/')[2]}" for image in images]
            test = number in TEST_TILES
            divided = not test and self.val > 0 and len(ids) > 1
            splits = assign_splits(ids, {"val": self.val}, seed=self.seed) if divided else None
            for image_id, image in zip(ids, images, strict=True):
                split = "test" if test else splits[image_id] if splits else "train"
                yield Source(image_id, split, image_id, image, _mask(self.files, tile, image))

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded image and its mask."""
        return read_files(self.files, source)

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), by colour; black becomes 255."""
        return codec.decode_color_mask(data, classes=self.classes)


def open_aerial_dubai(files: Files, *, seed: int = 0, val: float = 0.2) -> AerialDubai:
    """Check that there are tiles and that every image has a mask.

    Raises:
        DataError: No `Tile N` folder, one that does not hold images/ and masks/, or an image without mask.
    """
    tiles = _tiles(files)
    if not tiles:
        raise DataError(
            f'{files.root} is not Aerial Dubai: no folder "Tile 1" (expected Tile N/images/ and Tile N/masks/)'
        )
    for _, tile in tiles:
        for kind in ("images", "masks"):
            if not files.is_folder(f"{tile}/{kind}"):
                raise DataError(f"{files.root} is not Aerial Dubai: {tile}/{kind}/ is missing")
    layout = AerialDubai(files, seed, val)
    for _ in layout.sources():  # names missing masks now, not in the middle of the work
        pass
    return layout


def _tiles(files: Files) -> list[tuple[int, str]]:
    matches = (re.fullmatch(r"Tile (\d+)", entry.name) for entry in files.entries("") if entry.is_dir())
    return sorted((int(match[1]), match[0]) for match in matches if match)


def _mask(files: Files, tile: str, image: str) -> str:
    name = stem(image).rpartition("/")[2]
    for suffix in MASK_SUFFIXES:
        if files.is_file(f"{tile}/masks/{name}{suffix}"):
            return f"{tile}/masks/{name}{suffix}"
    raise DataError(f"{image} has no mask: expected {tile}/masks/{name}.png in {files.root}")
