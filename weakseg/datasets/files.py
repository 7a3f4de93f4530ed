"""Where the files of a data set lie: a folder on this machine, or whatever else can list and read.

Layouts name files by posix paths relative to the data set's root and go through :class:`Files` alone, so that a data
set in a bucket, an archive or a database is read by the same layouts.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


class Entry(Protocol):
    """A name in a folder, such as an `os.DirEntry`."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    def is_dir(self) -> bool:
        """Whether it is a folder."""


class Files(Protocol):
    """The files of a data set. Picklable, equal where they lie in the same place, and small when pickled.

    Workers only `read` and `open`: what one process has listed does not travel.
    """

    @property
    def root(self) -> str:
        """Where they lie, for messages: a folder or an address."""

    @property
    def ordered(self) -> bool:
        """Whether entries come by the bytes of their names: then nobody has to hold the names to sort them.

        Only files among files: folders may stand anywhere.
        """

    def entries(self, folder: str) -> Iterator[Entry]:
        """What a folder holds, one after the other; "" is the root.

        Raises:
            OSError: There is no such folder (FileNotFoundError), or it cannot be listed.
        """

    def is_file(self, path: str) -> bool:
        """Whether there is such a file."""

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder."""

    def size(self, path: str) -> int:
        """The size of a file in bytes.

        Raises:
            OSError: There is none, or it cannot be read.
        """

    def version(self, path: str) -> int:
        """A number of 64 bits that is another one where the file was written anew.

        Raises:
            OSError: There is none, or it cannot be read.
        """

    def read(self, path: str) -> bytes:
        """All bytes of a file.

        Raises:
            OSError: There is none, or it cannot be read.
        """

    def open(self, path: str) -> BinaryIO:
        """A file to read parts of, closed by the caller.

        Raises:
            OSError: There is none, or it cannot be read.
        """


@dataclass(frozen=True)
class LocalFiles:
    """A folder on this machine, or on a disk that it shares.

    Args:
        root: The folder.
    """

    root: str

    @property
    def ordered(self) -> bool:
        """False: a directory is in no order."""
        return False

    def local(self, path: str) -> Path:
        """Where a file or folder lies."""
        return Path(self.root, path)

    def entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What a folder holds, in no order."""
        with os.scandir(self.local(folder)) as entries:
            yield from entries

    def is_file(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.local(path).is_file()

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder."""
        return self.local(path).is_dir()

    def size(self, path: str) -> int:
        """The size of a file in bytes."""
        return self.local(path).stat().st_size

    def version(self, path: str) -> int:
        """When a file was last written, in nanoseconds."""
        return self.local(path).stat().st_mtime_ns

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        return self.local(path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        """A file to read parts of."""
        return self.local(path).open("rb")


def text_lines(files: Files, path: str) -> Iterator[str]:
    """The lines of a text in UTF-8, with or without a byte order mark.

    Raises:
        OSError: There is no such file, or it cannot be read.
        UnicodeDecodeError: It is no text.
    """
    with io.TextIOWrapper(files.open(path), encoding="utf-8-sig") as lines:
        yield from lines
