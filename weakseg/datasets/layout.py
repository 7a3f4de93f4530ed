"""What a data set of files offers, and the listing that every layout on files shares.

Nothing here holds more than one directory's names, so that a million images need no more than about 100
bytes each; where files come in order, not even these.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from weakseg.datasets.classes import Classes
from weakseg.datasets.files import Files
from weakseg.errors import DataError

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .tif .tiff .webp .bmp .gif .jp2 .ppm .pgm .heic .heif .avif".split())
"""What is taken for an image; those that cannot be decoded are quarantined by name, not passed over."""

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Source:
    """One image of a data set, by name.

    Args:
        image_id: Relative path without extension: unique and stable.
        split: train, val or test.
        group: What a split must not cut through: a scene, a patient, the source image of tiles.
        image: Path of the image relative to the data folder, in posix form; "stack.tif#12" for one of several
            images in a file (see :func:`member`).
        mask: The same for its mask, None where it has none.
    """

    image_id: str
    split: str
    group: str
    image: str
    mask: str | None


class Layout(Protocol):
    """A data set. Layouts are small picklable frozen dataclasses, for they travel to workers."""

    @property
    def name(self) -> str:
        """What `data.layout` calls it."""

    @property
    def classes(self) -> Classes:
        """The classes its masks hold."""

    def sources(self) -> Iterator[Source]:
        """All images in an order that depends on the data alone, one after the other.

        Raises:
            DataError: The folder breaks the layout's rules.
        """

    def read(self, source: Source) -> tuple[bytes, bytes | None]:
        """The encoded image and mask."""

    def decode_mask(self, data: bytes) -> npt.NDArray[np.uint8]:
        """A mask of this data set as class indices, uint8 (H, W), 255 = void."""


class CoarseLayout(Layout, Protocol):
    """A data set with coarse annotations of its own, beside its masks."""

    def read_coarse(self, source: Source) -> bytes | None:
        """The encoded coarse annotation, for `decode_mask`; None where an image has none."""


def has_coarse(layout: Layout) -> TypeGuard[CoarseLayout]:
    """Whether a data set has coarse annotations of its own, as far as its kind tells."""
    return callable(getattr(layout, "read_coarse", None))


def member(path: str) -> tuple[str, int | None]:
    """The file of a source's path and which image in it: ("a.tif", 12) of "a.tif#12", ("a.png", None) of "a.png"."""
    file, _, index = path.rpartition("#")
    return (file, int(index)) if file and index.isdecimal() else (path, None)


def read_files(files: Files, source: Source) -> tuple[bytes, bytes | None]:
    """The bytes of a source's files.

    Raises:
        DataError: A file cannot be read: what stands on disk changed or is forbidden, which is no fault of the image.
    """
    return read_file(files, source.image), None if source.mask is None else read_file(files, source.mask)


def read_file(files: Files, path: str) -> bytes:
    """The bytes of one file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return files.read(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read in {files.root} ({error.strerror}): restore it and try again"
        ) from error


def images_under(files: Files, folder: str, *, recursive: bool = False, unique: bool = True) -> Iterator[str]:
    """Relative paths of the images in a folder: sorted, its own before those of its sub-folders.

    Hidden files and files without an image's extension are passed over.

    Args:
        files: The data set.
        folder: Where to look, relative to the data folder, in posix form.
        recursive: Whether to go into sub-folders.
        unique: Whether to refuse two images of one name; not needed of a listing that is gone through again.

    Yields:
        Paths relative to the data folder in posix form.

    Raises:
        DataError: No such folder, a name that is not UTF-8, or two images of one name (a.jpg and a.png).
    """
    folders: list[bytes] = []
    if files.ordered:
        if unique:
            _check_unique(folder, lambda: _image_names(files, folder))
        for name in _image_names(files, folder, folders):
            yield f"{folder}/{name}"
    else:
        images = [name.encode() for name in _image_names(files, folder, folders)]  # a third smaller than str
        images.sort()
        if unique:
            _check_unique(folder, lambda: map(bytes.decode, images))
        for image in images:
            yield f"{folder}/{image.decode()}"
        del images
    if recursive:
        for found in sorted(folders):
            yield from images_under(files, f"{folder}/{found.decode()}", recursive=True, unique=unique)


def stem(path: str) -> str:
    """A relative path without its last extension."""
    return path.rpartition(".")[0]


def suffix(path: str) -> str:
    """The last extension in lower case with its dot, as in ".jpg"; empty if there is none."""
    dot = path.rfind(".")
    return path[dot:].lower() if dot > path.rfind("/") else ""


def code(text: str) -> int:
    """A 64-bit number for a name: what is held of a million names."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def codes(names: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The codes of names in their order, (N,)."""
    return np.asarray(array("Q", map(code, names)), np.uint64)


def position(sorted_codes: npt.NDArray[np.uint64], wanted: int) -> int | None:
    """Where a code stands first in a sorted array, None where it does not."""
    found = int(sorted_codes.searchsorted(np.uint64(wanted)))
    return found if found < len(sorted_codes) and int(sorted_codes[found]) == wanted else None


def claimed_twice(claims: Callable[[], Iterable[tuple[str, str]]]) -> tuple[str, str, str] | None:
    """The first name that occurs twice, holding 64 bits of each.

    Args:
        claims: Gives, each time it is called, the same (name, who claims it).

    Returns:
        The name and its first two claimants, or None where every name is claimed once.
    """
    # Python's own 64 bits: nothing is kept of them, and they take a tenth of the time of codes.
    held = np.asarray(array("q", (hash(name) for name, _ in claims())), np.int64)
    held.sort()
    suspects = set(held[1:][held[1:] == held[:-1]].tolist())
    first: dict[str, str] = {}
    for name, owner in claims() if suspects else ():
        if hash(name) in suspects:  # equal codes of unequal names: possible, and harmless here
            if name in first:
                return name, first[name], owner
            first[name] = owner
    return None


def _image_names(files: Files, folder: str, folders: list[bytes] | None = None) -> Iterator[str]:
    """The names of a folder's images as they come; those of its sub-folders go onto the list."""
    where = f"{files.root}/{folder}"
    try:
        for entry in files.entries(folder):
            name = entry.name
            if name.startswith("."):
                continue
            is_folder = entry.is_dir()
            if not is_folder and suffix(name) not in IMAGE_SUFFIXES:
                continue
            if not name.isascii():
                try:
                    name.encode()
                except UnicodeEncodeError as error:
                    raise DataError(f"{where}: the name {name!r} is not UTF-8: rename it") from error
            if not is_folder:
                yield name
            elif folders is not None:
                folders.append(name.encode())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no such folder: {where}") from error
    except OSError as error:
        raise DataError(f"{where} cannot be listed ({error.strerror}): check its permissions") from error


def _check_unique(folder: str, images: Callable[[], Iterator[str]]) -> None:
    twice = claimed_twice(lambda: ((stem(name), name) for name in images()))
    if twice:
        raise DataError(
            f"{folder}/{twice[1]} and {folder}/{twice[2]} would both be image {twice[0]}: rename or remove one"
        )
