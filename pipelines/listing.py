"""Names and sizes of a great many objects, in order and on disk: what a bucket says of a folder, asked for once.

A million names as Python objects would take 100 MB; here no more than a few thousand are held at a time.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 8192
"""Names that are read together."""

_HELD = 2
"""Groups in memory: one is gone through while names are looked up in another."""

_COLUMNS = pa.schema([("name", pa.string()), ("size", pa.int64()), ("version", pa.int64())])


class Listed(NamedTuple):
    """What lies directly in a folder (see :class:`weakseg.datasets.files.Entry`)."""

    name: str
    folder: bool

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.folder


@dataclass(frozen=True)
class _Group:
    names: list[str]
    sizes: list[int]
    versions: list[int]


class Listing:
    """Names with slashes in them, and sizes, read from a file that :func:`write_listing` made.

    Python orders text by code points, which is the order of its UTF-8 bytes and so that of S3.

    Args:
        path: The file.
        firsts: The first name of each of its row groups.
    """

    def __init__(self, path: Path, firsts: Sequence[str]) -> None:
        self._file, self._firsts = pq.ParquetFile(path), firsts
        self._held: OrderedDict[int, _Group] = OrderedDict()
        self._last = (0, -1)

    def size(self, name: str) -> int | None:
        """The size of what bears exactly this name, None where nothing does."""
        found = self._find(name)
        return None if found is None else found[0].sizes[found[1]]

    def version(self, name: str) -> int | None:
        """The version of what bears exactly this name, None where nothing does."""
        found = self._find(name)
        return None if found is None else found[0].versions[found[1]]

    def _find(self, name: str) -> tuple[_Group, int] | None:
        """The group and row of a name."""
        number, row = self._last
        # Names are mostly asked for in their order: the one asked for before, or the one after it.
        for guess in (row, row + 1):
            if number < len(self._firsts):
                group = self._group(number)
                if 0 <= guess < len(group.names) and group.names[guess] == name:
                    self._last = (number, guess)
                    return group, guess
        number, row = self._place(name)
        if number < len(self._firsts):
            group = self._group(number)
            if group.names[row] == name:
                self._last = (number, row)
                return group, row
        return None

    def has_folder(self, prefix: str) -> bool:
        """Whether there is any name that begins so; the prefix ends with a slash."""
        number, row = self._place(prefix)
        return number < len(self._firsts) and self._group(number).names[row].startswith(prefix)

    def children(self, prefix: str) -> Iterator[Listed]:
        """What lies directly below a prefix, which is empty or ends with a slash: names without it, folders once."""
        length = len(prefix)
        number, row = self._place(prefix)
        while number < len(self._firsts):
            after = number + 1, 0
            for name in islice(self._group(number).names, row, None):
                if not name.startswith(prefix):
                    return
                child = name[length:]
                slash = child.find("/")
                if slash > 0:
                    yield Listed(child[:slash], True)
                    after = self._place(f"{name[: length + slash]}0")  # 0 is what comes after the slash
                    break
                if child:
                    yield Listed(child, False)
            number, row = after

    def _place(self, name: str) -> tuple[int, int]:
        """Group and row of the first name that is not below this one; a group too many where there is none."""
        number = max(bisect_right(self._firsts, name) - 1, 0)
        if number == len(self._firsts):
            return number, 0
        names = self._group(number).names
        row = bisect_left(names, name)
        return (number, row) if row < len(names) else (number + 1, 0)

    def _group(self, number: int) -> _Group:
        if number not in self._held:
            table = self._file.read_row_group(number, use_threads=False)
            self._held[number] = _Group(*(table[name].to_pylist() for name in _COLUMNS.names))
            if len(self._held) > _HELD:
                self._held.popitem(last=False)
        return self._held[number]


def write_listing(path: Path, objects: Iterable[tuple[str, int, int]]) -> Listing:
    """Write names, sizes and versions as they come, then read them.

    Args:
        path: The file to make.
        objects: Names in the order of their bytes, none twice, sizes in bytes, and versions.

    Raises:
        ValueError: They come in another order.
    """
    source = iter(objects)
    before = ""
    firsts: list[str] = []
    with pq.ParquetWriter(path, _COLUMNS, compression="zstd", use_dictionary=False) as file:
        while True:
            names: list[str] = []
            sizes, versions = array("q"), array("q")
            for name, size, version in islice(source, GROUP):
                if name <= before and (before or names):
                    raise ValueError(f"{name!r} comes after {before!r}")
                names.append(name)
                sizes.append(size)
                versions.append(version)
                before = name
            if not names:
                break
            firsts.append(names[0])
            file.write_table(pa.table([pa.array(names), pa.array(sizes), pa.array(versions)], schema=_COLUMNS))
    return Listing(path, firsts)
