"""Anybody's own folder: `images/`, optional `masks/` with the same names, `classes.yaml`, optional split files.

```
images/a.jpg  images/field_1/b.tif      any image files; sub-folders as you like
masks/a.png   masks/field_1/b.png       of the same names; class indices, or the colours of classes.yaml; may be partial
classes.yaml                            classes: [{name: road, color: "#6EC1E4"}, ...]
train.txt val.txt test.txt              optional: one image per line, "a", "a.jpg" or "field_1/b"
```
Who is train, val and test: the split files, if there are any (images in none are train without a `train.txt`,
and left out with one); else, if the images lie in `images/train/`, `images/val/` and `images/test/` alone,
these; else fractions of the images. Fractions never cut through a group: a top-level sub-folder of `images/` is
one (a patient, a scene), an image directly in `images/` is its own.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files, text_lines
from weakseg.datasets.layout import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    Source,
    claimed_twice,
    code,
    codes,
    images_under,
    position,
    read_files,
    stem,
    suffix,
)
from weakseg.datasets.splits import DEFAULT_FRACTIONS, SPLITS, Assignment, assign_splits
from weakseg.errors import DataError


@dataclass(frozen=True)
class Folder:
    """The layout; use :func:`open_folder`, which checks the folder.

    Args:
        files: Of the folder that holds images/.
        classes: What `classes.yaml` says.
        seed: Of the division by fractions.
        fractions: (split, share) for val and test, where neither split files nor split folders say.
    """

    files: Files
    classes: Classes
    seed: int = 0
    fractions: tuple[tuple[str, float], ...] = tuple(DEFAULT_FRACTIONS.items())
    name: str = "folder"

    @property
    def root(self) -> str:
        """Where its files lie, for messages."""
        return self.files.root

    def sources(self) -> Iterator[Source]:
        """All images, folder by folder, each by name."""
        split_of = self._splits()
        directory: str | None = None
        masks: _Names | None = None
        for image in images_under(self.files, "images", recursive=True):
            image_id = stem(image).removeprefix("images/")
            parent = image_id.rpartition("/")[0]
            if parent != directory:
                directory, masks = parent, _mask_names(self.files, parent)
            split, group = split_of(image_id)
            if split is not None:
                ending = masks.suffix(image_id) if masks else None
                yield Source(image_id, split, group, image, f"masks/{image_id}{ending}" if ending else None)

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded image and, where there is one, its mask."""
        return read_files(self.files, source)

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Class indices, uint8 (H, W), from indices, palette or colours (see :func:`weakseg.codec.decode_mask`)."""
        return codec.decode_mask(data, classes=self.classes)

    def _splits(self) -> Callable[[str], tuple[str | None, str]]:
        """A function from image_id to split (None = left out) and group."""
        listed = _split_files(self.files)
        if listed:
            named = _from_files(self.files)
            otherwise = None if "train.txt" in listed else "train"
            return lambda image_id: (named.get(image_id) or otherwise, image_id)
        if _has_split_folders(self.files):
            return lambda image_id: (image_id.split("/", 1)[0], image_id)
        images = images_under(self.files, "images", recursive=True, unique=False)  # sources() looks
        groups = (_group(stem(image).removeprefix("images/")) for image in images)
        drawn = assign_splits(groups, dict(self.fractions), seed=self.seed)

        def by_group(image_id: str) -> tuple[str, str]:
            group = _group(image_id)
            return drawn[group], group

        return by_group


def open_folder(files: Files, *, seed: int = 0, splits: Mapping[str, float] | None = None) -> Folder:
    """Read `classes.yaml` and check everything that file names alone can tell.

    Args:
        files: Of the folder that holds images/.
        seed: Of the division by fractions.
        splits: Shares of val and test, 0.15 each if None.

    Returns:
        The layout.

    Raises:
        DataError: images/ or classes.yaml is missing or faulty, two images of one name, a split file that names
            an unknown image or one of another split, fractions beside given splits, masks that fit no image.
    """
    if not files.is_folder("images"):
        raise DataError(
            f"{files.root} has no folder images/: put the images there (and masks of the same names into masks/)"
        )
    if next(images_under(files, "images", recursive=True, unique=False), None) is None:
        raise DataError(f"{files.root}/images holds no images (files with {', '.join(sorted(IMAGE_SUFFIXES))})")
    listed = _split_files(files)
    if splits is not None and (listed or _has_split_folders(files)):
        given = ", ".join(listed) if listed else "images/train/, images/val/ or images/test/"
        raise DataError(
            f"data.splits asks for fractions, but {files.root} already has {given}: remove one or the other"
        )
    twice = claimed_twice(lambda: _named(files))
    if twice:
        raise DataError(f"{files.root}: {twice[0]} is named in {twice[1]} and again in {twice[2]}: keep one")
    fractions = DEFAULT_FRACTIONS if splits is None else splits
    layout = Folder(files, Classes.from_files(files, "classes.yaml"), seed, tuple(fractions.items()))
    unknown = _unknown_name(files) if listed else None
    if unknown:
        raise DataError(
            f"{files.root}/{unknown[1]} names {unknown[0]}, but there is no such image in {files.root}/images"
        )
    count = masks = 0
    for source in layout.sources():
        count, masks = count + 1, masks + (source.mask is not None)
    if not count:
        raise DataError(f"{files.root} holds no images for layout folder: train.txt, val.txt and test.txt name none")
    if not masks and _has_files(files, "masks"):
        raise DataError(
            f"{files.root}/masks has files, but none has the name of an image: "
            "the mask of images/a.jpg is masks/a.png, that of images/b/c.jpg is masks/b/c.png"
        )
    return layout


@dataclass(frozen=True)
class _Names:
    """Which masks one directory holds, in 8 bytes each: 58 bits of the name and 6 for its extension."""

    packed: "array[int]"  # not subscriptable at run time
    suffixes: tuple[str, ...]

    def suffix(self, name: str) -> str | None:
        wanted = _bits(name)
        first = bisect_left(self.packed, wanted)
        found = [value & 63 for value in self.packed[first : first + 2] if value & ~63 == wanted]
        if len(found) > 1:
            raise DataError(f"image {name} has several masks in masks/ ({name}.*): keep one")
        return self.suffixes[found[0]] if found else None


def _mask_names(files: Files, directory: str) -> _Names | None:
    folder = f"masks/{directory}" if directory else "masks"
    if not files.is_folder(folder):
        return None
    packed, suffixes = array("Q"), dict[str, int]()
    for entry in files.entries(folder):
        if suffix(entry.name) in MASK_SUFFIXES and not entry.name.startswith("."):
            name = stem(entry.name)
            number = suffixes.setdefault(entry.name[len(name) :], len(suffixes))
            packed.append(_bits(f"{directory}/{name}" if directory else name) | number)
    np.asarray(packed).sort()  # in place: they share their memory
    return _Names(packed, tuple(suffixes))


def _bits(name: str) -> int:
    """58 bits of a name at their place; of Python's own hash, for nothing is kept of them."""
    return hash(name) & 0xFFFFFFFFFFFFFFC0


def _from_files(files: Files) -> Assignment:
    named = codes(name for name, _ in _named(files))
    splits = np.array(array("B", (SPLITS.index(stem(file)) for _, file in _named(files))), np.uint8)
    order = np.argsort(named)
    return Assignment(named[order], splits[order])


def _unknown_name(files: Files) -> tuple[str, str] | None:
    """The first name in a split file that no image has, and the file."""
    images = images_under(files, "images", recursive=True, unique=False)
    known = codes(stem(image).removeprefix("images/") for image in images)
    known.sort()
    return next(((name, file) for name, file in _named(files) if position(known, code(name)) is None), None)


def _split_files(files: Files) -> list[str]:
    return [f"{split}.txt" for split in SPLITS if files.is_file(f"{split}.txt")]


def _named(files: Files) -> Iterator[tuple[str, str]]:
    """(image_id, split file) of every line; comments (#) and empty lines do not count."""
    for file in _split_files(files):
        try:
            for line in text_lines(files, file):
                name = line.strip().replace("\\", "/").removeprefix("./").removeprefix("images/")
                if name and not name.startswith("#"):
                    yield stem(name) if suffix(name) in IMAGE_SUFFIXES else name, file
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{files.root}/{file} cannot be read as text ({error}): write one image name per line"
            ) from error


_SPLIT_NAMES = (*SPLITS, "training", "valid", "validation", "testing")


def _has_split_folders(files: Files) -> bool:
    """Whether images/ is divided into folders named after splits; files beside them that are no images do not count.

    Raises:
        DataError: Some of its folders are named after splits, others are not.
    """
    named: list[str] = []
    other: str | None = None
    for entry in files.entries("images"):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and entry.name in _SPLIT_NAMES:
            named.append(entry.name)
        if entry.name not in SPLITS and (entry.is_dir() or suffix(entry.name) in IMAGE_SUFFIXES):
            other = entry.name
    if len(named) > 1 and other is not None:
        raise DataError(
            f"{files.root}/images has {', '.join(sorted(named))} and also {other}: for given splits name its folders "
            f"{', '.join(SPLITS)} and keep nothing beside them; for others rename them, or write train.txt, val.txt "
            "and test.txt"
        )
    return bool(named) and other is None


def _has_files(files: Files, folder: str) -> bool:
    """Whether anything with an extension lies somewhere in a folder."""
    if not files.is_folder(folder):
        return False
    return any(
        "." in entry.name or (entry.is_dir() and _has_files(files, f"{folder}/{entry.name}"))
        for entry in files.entries(folder)
    )


def _group(image_id: str) -> str:
    first, slash, _ = image_id.partition("/")
    return first if slash else image_id
