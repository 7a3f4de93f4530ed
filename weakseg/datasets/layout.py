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
from weakseg.datasets.files import Entry, Files
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


def images_under(files: Files, folder: str, *, recursive: bool = False) -> Iterator[str]:
    """Relative paths of the images in a folder: sorted, its own before those of its sub-folders.

    Hidden files and files without an image's extension are passed over.

    Args:
        files: The data set.
        folder: Where to look, relative to the data folder, in posix form.
        recursive: Whether to go into sub-folders.

    Yields:
        Paths relative to the data folder in posix form.

    Raises:
        DataError: No such folder, a name that is not UTF-8, or two images of one name (a.jpg and a.png).
    """
    images, folders = _listing(files, folder)
    _check_unique(folder, images)
    for name in images():
        yield f"{folder}/{name}"
    del images
    if recursive:
        for found in folders:
            yield from images_under(files, f"{folder}/{found.decode()}", recursive=True)


def stem(path: str) -> str:
    """A relative path without its last extension."""
    return path.rpartition(".")[0]


def suffix(path: str) -> str:
    """The last extension in lower case with its dot, as in ".jpg"; empty if there is none."""
    name = path.rpartition("/")[2]
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ""


def code(text: str) -> int:
    """A 64-bit number for a name: what is held of a million names."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def codes(names: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The codes of names in their order, (N,)."""
    return np.asarray(array("Q", map(code, names)), np.uint64)


def position(sorted_codes: npt.NDArray[np.uint64], wanted: int) -> int | None:
    """Where a code stands first in a sorted array, None where it does not."""
    found = int(np.searchsorted(sorted_codes, np.uint64(wanted)))
    return found if found < len(sorted_codes) and int(sorted_codes[found]) == wanted else None


def claimed_twice(claims: Callable[[], Iterable[tuple[str, str]]]) -> tuple[str, str, str] | None:
    """The first name that occurs twice, holding 64 bits of each.

    Args:
        claims: Gives, each time it is called, the same (name, who claims it).

    Returns:
        The name and its first two claimants, or None where every name is claimed once.
    """
    held = codes(name for name, _ in claims())
    held.sort()
    suspects = set(held[1:][held[1:] == held[:-1]].tolist())
    first: dict[str, str] = {}
    for name, owner in claims() if suspects else ():
        if code(name) in suspects:  # equal codes of unequal names: possible, and harmless here
            if name in first:
                return name, first[name], owner
            first[name] = owner
    return None


def _listing(files: Files, folder: str) -> tuple[Callable[[], Iterator[str]], list[bytes]]:
    """The names of images, sorted each time they are asked for, and of sub-folders."""
    images: list[bytes] = []  # as bytes, a third smaller than str
    folders: list[bytes] = []
    where = f"{files.root}/{folder}"
    try:
        for entry in files.entries(folder):
            if not _wanted(entry):
                continue
            try:
                name = entry.name.encode()
            except UnicodeEncodeError as error:
                raise DataError(f"{where}: the name {entry.name!r} is not UTF-8: rename it") from error
            if entry.is_dir():
                folders.append(name)
            elif not files.ordered:
                images.append(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no such folder: {where}") from error
    except OSError as error:
        raise DataError(f"{where} cannot be listed ({error.strerror}): check its permissions") from error
    images.sort()
    folders.sort()
    if files.ordered:
        return lambda: (entry.name for entry in files.entries(folder) if _wanted(entry) and not entry.is_dir()), folders
    return lambda: map(bytes.decode, images), folders


def _wanted(entry: Entry) -> bool:
    return not entry.name.startswith(".") and (suffix(entry.name) in IMAGE_SUFFIXES or entry.is_dir())


def _check_unique(folder: str, images: Callable[[], Iterator[str]]) -> None:
    twice = claimed_twice(lambda: ((stem(name), name) for name in images()))
    if twice:
        raise DataError(
            f"{folder}/{twice[1]} and {folder}/{twice[2]} would both be image {twice[0]}: rename or remove one"
        )
