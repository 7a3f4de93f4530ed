"""Data sets: one file per layout of files, and a generator of scenes that needs no disk."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weakseg.datasets.aerial_dubai import AerialDubai, open_aerial_dubai
from weakseg.datasets.camvid import CamVid, open_camvid
from weakseg.datasets.cityscapes import Cityscapes, open_cityscapes
from weakseg.datasets.classes import Classes
from weakseg.datasets.epfl_em import EpflEm, open_epfl_em
from weakseg.datasets.examples import Example, Examples, InMemory, from_records
from weakseg.datasets.files import Files, LocalFiles
from weakseg.datasets.folder import Folder, open_folder
from weakseg.datasets.layout import IMAGE_SUFFIXES, CoarseLayout, Layout, Source, has_coarse, member
from weakseg.datasets.pannuke import PanNuke, open_pannuke
from weakseg.datasets.scenes import DEFAULT_IMAGES, DEFAULT_SIZE, Scenes, open_scenes, render
from weakseg.datasets.splits import DEFAULT_FRACTIONS, Assignment, assign_splits, check_fractions
from weakseg.datasets.suim import Suim, open_suim
from weakseg.datasets.tiling import Coarse, Coarsen, Record, records, resize_image, resize_mask, windows
from weakseg.datasets.voc import Voc, open_voc
from weakseg.errors import DataError

__all__ = [
    "DEFAULT_FRACTIONS",
    "LAYOUTS",
    "AerialDubai",
    "Assignment",
    "CamVid",
    "Cityscapes",
    "Classes",
    "Coarse",
    "CoarseLayout",
    "Coarsen",
    "EpflEm",
    "Example",
    "Examples",
    "Files",
    "Folder",
    "InMemory",
    "Layout",
    "LocalFiles",
    "PanNuke",
    "Record",
    "Scenes",
    "Source",
    "Suim",
    "Voc",
    "assign_splits",
    "from_records",
    "has_coarse",
    "member",
    "open_layout",
    "records",
    "render",
    "resize_image",
    "resize_mask",
    "windows",
]

LAYOUTS = (
    "aerial_dubai",
    "camvid",
    "cityscapes",
    "epfl_em",
    "folder",
    "pannuke",
    "scenes",
    "suim",
    "voc",
    "voc_aug",
)
"""What `data.layout` may be."""

_OWN_SPLITS = {"camvid": "train/, val/, test/", "pannuke": "folds 1, 2 and 3"}
_OWN_TEST = {
    "aerial_dubai": "the test images of aerial_dubai are tiles 2, 4 and 5",
    "cityscapes": "the test images of cityscapes are those of its val/",
    "epfl_em": "the test images of epfl_em are those of testing.tif",
    "suim": "the test images of suim are those of TEST/",
    "voc": "the test images of voc are those of its val.txt",
    "voc_aug": "the test images of voc_aug are those of its val.txt",
}


def open_layout(
    name: str,
    path: str | None,
    *,
    seed: int = 0,
    splits: Mapping[str, float] | None = None,
    images: int | None = None,
    size: tuple[int, int] | None = None,
    coarse: bool = False,
    files: Files | None = None,
) -> Layout:
    """Open a data set and check everything that file names alone can tell.

    Args:
        name: One of :data:`LAYOUTS`.
        path: The data folder; `~` and environment variables ($CAMVID) are resolved. None for scenes.
        seed: Of the scenes, and of a division by fractions.
        splits: Shares of val and test (folder, scenes); of val alone where the test is published (aerial_dubai,
            cityscapes, epfl_em, suim, voc, voc_aug); not for camvid and pannuke, which have their own.
        images: How many scenes.
        size: (height, width) of the scenes; other layouts give their images as they are (see :func:`records`).
        coarse: Whether the data set's own coarse annotations will be needed (see :class:`Coarse`).
        files: The data set's files, where it lies in no folder; `path` is then only for messages.

    Returns:
        The layout.

    Raises:
        ValueError: Unknown name.
        DataError: No such folder or an empty one, a setting that the layout would ignore, coarse annotations of a
            layout that has none, or a folder that breaks the layout's rules.
    """
    if name not in LAYOUTS:
        raise ValueError(f"unknown layout {name!r}, known are {', '.join(LAYOUTS)}")
    if coarse and name != "cityscapes":
        raise DataError(
            f"layout {name} has no coarse annotations of its own (cityscapes has): set supervision.coarse to masks"
        )
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
    layout = _on_files(name, files or _data_folder(name, path), seed=seed, splits=splits, coarse=coarse)
    # open_folder has counted; to begin anew would draw the splits of all its images once more
    if name != "folder" and next(layout.sources(), None) is None:
        raise DataError(f"{path} holds no images for layout {name} (files with {', '.join(sorted(IMAGE_SUFFIXES))})")
    return layout


def _on_files(name: str, files: Files, *, seed: int, splits: Mapping[str, float] | None, coarse: bool) -> Layout:
    if name == "folder":
        return open_folder(files, seed=seed, splits=splits)
    if name in _OWN_SPLITS:
        if splits is not None:
            raise DataError(f"data.splits: {name} has its own splits ({_OWN_SPLITS[name]}): remove it")
        return open_camvid(files) if name == "camvid" else open_pannuke(files)
    share: dict[str, Any] = {}  # the layout's own where nobody says otherwise
    if splits is not None:
        check_fractions(splits)
        if splits.get("test"):
            raise DataError(f"data.splits: {_OWN_TEST[name]}: give val only")
        share = {"val": splits.get("val", 0.0)}
    match name:
        case "aerial_dubai":
            return open_aerial_dubai(files, seed=seed, **share)
        case "cityscapes":
            return open_cityscapes(files, seed=seed, coarse=coarse, **share)
        case "epfl_em":
            return open_epfl_em(files, **share)
        case "suim":
            return open_suim(files, seed=seed, **share)
        case _:
            return open_voc(files, seed=seed, augmented=name == "voc_aug", **share)


def _data_folder(name: str, path: str | None) -> LocalFiles:
    if not path:
        raise DataError(f"layout {name} needs data.path, the folder of the data set")
    resolved = Path(os.path.expandvars(path)).expanduser()
    if not resolved.is_dir():
        unset = [variable for variable in re.findall(r"\$\{?(\w+)", path) if variable not in os.environ]
        hint = f"environment variable {unset[0]} is not set" if unset else "set data.path to the folder of the data set"
        what = "is not a folder" if resolved.exists() else "no such data folder"
        raise DataError(f"{what}: {path} (looked for {resolved.absolute()}): {hint}")
    return LocalFiles(str(resolved.absolute()))
