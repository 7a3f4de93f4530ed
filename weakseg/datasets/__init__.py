"""Data sets: one file per layout on disk, and a generator of scenes that needs no disk."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from weakseg.datasets.aerial_dubai import AerialDubai, open_aerial_dubai
from weakseg.datasets.camvid import CamVid, open_camvid
from weakseg.datasets.classes import Classes
from weakseg.datasets.examples import Example, Examples, InMemory, from_records
from weakseg.datasets.folder import Folder, open_folder
from weakseg.datasets.layout import IMAGE_SUFFIXES, Layout, Source
from weakseg.datasets.scenes import DEFAULT_IMAGES, DEFAULT_SIZE, Scenes, open_scenes, render
from weakseg.datasets.splits import DEFAULT_FRACTIONS, Assignment, assign_splits, check_fractions
from weakseg.datasets.tiling import Record, records, resize_image, resize_mask, windows
from weakseg.errors import DataError

__all__ = [
    "DEFAULT_FRACTIONS",
    "LAYOUTS",
    "AerialDubai",
    "Assignment",
    "CamVid",
    "Classes",
    "Example",
    "Examples",
    "Folder",
    "InMemory",
    "Layout",
    "Record",
    "Scenes",
    "Source",
    "assign_splits",
    "from_records",
    "open_layout",
    "records",
    "render",
    "resize_image",
    "resize_mask",
    "windows",
]

LAYOUTS = ("aerial_dubai", "camvid", "folder", "scenes")
"""What `data.layout` may be."""


def open_layout(
    name: str,
    path: str | None,
    *,
    seed: int = 0,
    splits: Mapping[str, float] | None = None,
    images: int | None = None,
    size: tuple[int, int] | None = None,
) -> Layout:
    """Open a data set and check everything that file names alone can tell.

    Args:
        name: One of :data:`LAYOUTS`.
        path: The data folder; `~` and environment variables ($CAMVID) are resolved. None for scenes.
        seed: Of the scenes, and of a division by fractions.
        splits: Shares of val and test (folder, scenes), of val (aerial_dubai); camvid has its own.
        images: How many scenes.
        size: (height, width) of the scenes; other layouts give their images as they are (see :func:`records`).

    Returns:
        The layout.

    Raises:
        ValueError: Unknown name.
        DataError: No such folder or an empty one, a setting that the layout would ignore, or a folder that
            breaks the layout's rules.
    """
    if name not in LAYOUTS:
        raise ValueError(f"unknown layout {name!r}, known are {', '.join(LAYOUTS)}")
    if name == "scenes":
        if path is not None:
            raise DataError(f"layout scenes generates its images and reads no folder, got data.path {path}: remove it")
        return open_scenes(
            seed=seed,
            images=DEFAULT_IMAGES if images is None else images,
            size=size or DEFAULT_SIZE,
            splits=splits,
        )
    if images is not None:
        raise DataError(f"data.images is for layout scenes, {name} takes all images of its folder: remove it")
    layout = _on_disk(name, _data_folder(name, path), seed=seed, splits=splits)
    if next(layout.sources(), None) is None:
        raise DataError(f"{path} holds no images for layout {name} (files with {', '.join(sorted(IMAGE_SUFFIXES))})")
    return layout


def _on_disk(name: str, root: Path, *, seed: int, splits: Mapping[str, float] | None) -> Layout:
    if name == "folder":
        return open_folder(root, seed=seed, splits=splits)
    if name == "camvid":
        if splits is not None:
            raise DataError("data.splits: camvid has its own splits (train/, val/, test/): remove it")
        return open_camvid(root)
    if splits is None:
        return open_aerial_dubai(root, seed=seed)
    check_fractions(splits)
    if splits.get("test"):
        raise DataError("data.splits: the test images of aerial_dubai are tiles 2, 4 and 5: give val only")
    return open_aerial_dubai(root, seed=seed, val=splits.get("val", 0.0))


def _data_folder(name: str, path: str | None) -> Path:
    if not path:
        raise DataError(f"layout {name} needs data.path, the folder of the data set")
    resolved = Path(os.path.expandvars(path)).expanduser()
    if not resolved.is_dir():
        unset = [variable for variable in re.findall(r"\$\{?(\w+)", path) if variable not in os.environ]
        hint = f"environment variable {unset[0]} is not set" if unset else "set data.path to the folder of the data set"
        what = "is not a folder" if resolved.exists() else "no such data folder"
        raise DataError(f"{what}: {path} (looked for {resolved.absolute()}): {hint}")
    return resolved.absolute()
