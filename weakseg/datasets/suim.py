"""SUIM (Islam et al., IROS 2020): 1,525 + 110 underwater images, 8 classes in 3-bit colours.

`train_val/images/*.jpg` with `train_val/masks/*.bmp` of the same names, likewise `TEST/`, whose masks/ also holds
sub-folders of one class each that are passed over. A class is its red, green and blue bit: wrecks are 011.

Two known faults of the release are met as its authors' code meets them. Masks have impure colours where they once were
compressed: each channel is cut at 128. The masks of some 80 images have another size than their image:
they are stretched to it, by the nearest pixel.

Test is TEST/; validation is drawn from train_val. Which dive an image is from is not known: each is its own group.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files
from weakseg.datasets.layout import MASK_SUFFIXES, Source, images_under, read_files, stem
from weakseg.datasets.splits import assign_splits
from weakseg.datasets.tiling import resize_mask
from weakseg.errors import DataError, ImageError
from weakseg.image_file import opened

CLASSES = Classes(
    names=(
        "background waterbody",
        "human divers",
        "plants and sea-grass",
        "wrecks and ruins",
        "robots and instruments",
        "reefs and invertebrates",
        "fish and vertebrates",
        "sea-floor and rocks",
    ),
    colors=tuple((255 * (bits >> 2), 255 * (bits >> 1 & 1), 255 * (bits & 1)) for bits in range(8)),
)

_COLORS = np.array(CLASSES.colors, np.uint8)
_FOLDERS = ("train_val", "TEST")


@dataclass(frozen=True)
class Suim:
    """The layout; use :func:`open_suim`, which checks the folder.

    Args:
        files: Of the folder that holds train_val/ and TEST/.
        seed: Which images of train_val are val.
        val: Share of train_val.
    """

    files: Files
    seed: int = 0
    val: float = 0.1
    name: str = "suim"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """The images of train_val, then those of TEST, each by name."""
        drawn = assign_splits(
            map(_image_id, images_under(self.files, "train_val/images", unique=False)),
            {"val": self.val},
            seed=self.seed,
        )
        for folder in _FOLDERS:
            for image in images_under(self.files, f"{folder}/images"):
                image_id = _image_id(image)
                split = "test" if folder == "TEST" else drawn[image_id]
                yield Source(image_id, split, image_id, image, _mask(self.files, image))

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded image and its mask, stretched to the image's size where it has another."""
        image, mask = read_files(self.files, source)
        assert mask is not None
        try:
            size = codec.image_size(image)
            if size != codec.image_size(mask):
                mask = codec.encode_png(_COLORS[resize_mask(self.decode_mask(mask), size)])
        except ImageError:
            pass  # whoever decodes them says which of the two is broken
        return image, mask

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), of the nearest of the eight colours; there is no void."""
        with opened(data) as image:
            image.load()
            bright_HW3 = np.asarray(image.convert("RGB")) >= 128
        return np.packbits(bright_HW3, axis=-1)[..., 0] >> np.uint8(5)


def open_suim(files: Files, *, seed: int = 0, val: float = 0.1) -> Suim:
    """Check that every image has a mask.

    Args:
        files: Of the folder that holds train_val/ and TEST/.
        seed: Which images of train_val are val.
        val: Share of train_val.

    Raises:
        DataError: A folder is missing, or an image has no mask.
    """
    wanted = [f"{folder}/{kind}" for folder in _FOLDERS for kind in ("images", "masks")]
    missing = [folder for folder in wanted if not files.is_folder(folder)]
    if missing:
        raise DataError(f"{files.root} is not SUIM: no {', '.join(missing)}; unpack train_val.zip and TEST.zip into it")
    layout = Suim(files, seed, val)
    for _ in layout.sources():  # names missing masks now, not in the middle of the work
        pass
    return layout


def _image_id(image: str) -> str:
    return stem(image).replace("/images/", "/", 1)


def _mask(files: Files, image: str) -> str:
    name = stem(image).replace("/images/", "/masks/", 1)
    for suffix in (".bmp", *MASK_SUFFIXES):
        if files.is_file(f"{name}{suffix}"):
            return f"{name}{suffix}"
    raise DataError(f"{image} has no mask: expected {name}.bmp in {files.root}")
