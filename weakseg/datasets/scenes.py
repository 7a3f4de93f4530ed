"""Generated aerial-like scenes: a data set without a download, for the demo, tests and benchmarks.

Parcels of bare land, fields, woods and town, with water, roads, houses and trees; six classes, about as
unbalanced as Aerial Dubai. Every scene is fixed by the seed, its number and its size.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import codec, seeding
from weakseg.datasets.classes import Classes
from weakseg.datasets.layout import Source
from weakseg.datasets.scene_paint import paint
from weakseg.datasets.scene_plan import draw_plan
from weakseg.datasets.splits import DEFAULT_FRACTIONS, check_fractions
from weakseg.errors import DataError

CLASSES = Classes(
    names=("land", "field", "water", "road", "building", "tree"),
    colors=((205, 180, 140), (170, 200, 70), (50, 120, 200), (110, 110, 120), (200, 70, 60), (30, 110, 50)),
    void_colors=((0, 0, 0),),
)

DEFAULT_IMAGES = 200
DEFAULT_SIZE = (144, 192)


@dataclass(frozen=True)
class Scenes:
    """The layout; use :func:`open_scenes`, which checks the numbers.

    Args:
        seed: Another seed is another world.
        images: How many scenes, over all splits.
        size: (height, width) of each.
        val: How many of them are val.
        test: How many are test.
    """

    seed: int = 0
    images: int = DEFAULT_IMAGES
    size: tuple[int, int] = DEFAULT_SIZE
    val: int = 0
    test: int = 0
    name: str = "scenes"
    classes: Classes = CLASSES

    def sources(self) -> Iterator[Source]:
        """All scenes by number: train, then val, then test. Each is its own group."""
        for number in range(self.images):
            left = self.images - number
            split = "test" if left <= self.test else "val" if left <= self.test + self.val else "train"
            image_id = f"scene-{number:06d}"
            yield Source(image_id, split, image_id, f"{image_id}.png", f"{image_id}-mask.png")

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """Render one scene and its mask to PNG."""
        image_HW3, mask_HW = render(*self.size, seed=self.seed, image_id=source.image_id)
        return codec.encode_png(image_HW3), codec.encode_mask(mask_HW)

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), 255 = void (under clouds)."""
        return codec.read_mask(data)


def open_scenes(
    *,
    seed: int = 0,
    images: int = DEFAULT_IMAGES,
    size: tuple[int, int] = DEFAULT_SIZE,
    splits: Mapping[str, float] | None = None,
) -> Scenes:
    """A set of scenes.

    Args:
        seed: Another seed is another world.
        images: How many scenes, over all splits.
        size: (height, width) of each.
        splits: Shares of val and test, 0.15 each if None.

    Returns:
        The layout.

    Raises:
        DataError: Faulty shares, a side below 32 pixels, or no scene left to train on.
    """
    shares = DEFAULT_FRACTIONS if splits is None else splits
    check_fractions(shares)
    if min(size) < 32:
        raise DataError(f"scenes: sides of at least 32 pixels, got {size[0]}x{size[1]}")
    val, test = (max(1, round(shares[key] * images)) if shares.get(key) else 0 for key in ("val", "test"))
    if images <= val + test:
        raise DataError(f"scenes: {images} images leave none to train on beside {val} val and {test} test: have more")
    return Scenes(seed, images, size, val, test)


def render(height: int, width: int, *, seed: int, image_id: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw one scene.

    Args:
        height: In pixels.
        width: In pixels.
        seed: Of the world.
        image_id: Which scene of it.

    Returns:
        The image, uint8 (H, W, 3), and its class indices, uint8 (H, W), 255 = void.
    """
    rng = seeding.generator(seed, "scene", image_id=image_id)
    return paint(draw_plan(height, width, rng), rng)
