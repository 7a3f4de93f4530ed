"""The images that the engine is measured on: CamVid where it is, generated scenes of its size where it is not."""

import os
import shutil
from pathlib import Path

from weakseg.codec import encode_mask, encode_png
from weakseg.datasets import render

SIZE = (360, 480)
"""CamVid's height and width."""


def camvid() -> Path | None:
    """The folder of CamVid: $CAMVID, else $WEAKSEG_TEST_DATA/camvid; None where neither is there."""
    data = os.environ.get("WEAKSEG_TEST_DATA")
    named = os.environ.get("CAMVID") or (str(Path(data) / "camvid") if data else "")
    return Path(named) if named and Path(named, "train").is_dir() else None


def source() -> str:
    """What the images are, for the record."""
    return "CamVid" if camvid() else "generated scenes"


def images_folder(folder: Path, images: int) -> Path:
    """A data set in CamVid's layout with exactly so many training images, and one each to validate and test.

    More images than CamVid has are its own again under other names; of the generated ones at most 64 are drawn.

    Args:
        folder: Where to make it; nothing is done where it is there already.
        images: How many training images.

    Returns:
        The folder.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    originals = _camvid_pairs(camvid()) if camvid() else _scene_pairs(folder.with_name("scenes"), min(images, 64))
    for split, count in (("train", images), ("val", 1), ("test", 1)):
        for name in (split, f"{split}annot"):
            (partial / name).mkdir(parents=True)
        for number in range(count):
            image, mask = originals[number % len(originals)]
            name = f"{split}-{number:06d}"  # no two splits may claim one name
            (partial / split / f"{name}{image.suffix}").symlink_to(image)
            (partial / f"{split}annot" / f"{name}.png").symlink_to(mask)
    partial.rename(folder)
    return folder


def _camvid_pairs(root: Path) -> list[tuple[Path, Path]]:
    images = sorted((root / "train").iterdir())
    return [(image.absolute(), (root / "trainannot" / f"{image.stem}.png").absolute()) for image in images]


def _scene_pairs(folder: Path, count: int) -> list[tuple[Path, Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(count):
        image, mask = folder / f"{number}.png", folder / f"{number}-mask.png"
        if not mask.exists():
            image_HW3, mask_HW = render(*SIZE, seed=0, image_id=str(number))
            image.write_bytes(encode_png(image_HW3))
            mask.write_bytes(encode_mask(mask_HW))
        pairs.append((image.absolute(), mask.absolute()))
    return pairs
