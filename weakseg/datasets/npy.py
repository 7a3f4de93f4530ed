"""Arrays in `.npy` files of which one item is read at a time, wherever they lie. Nothing is unpickled."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from weakseg.datasets.files import Files, LocalFiles


class Array(Protocol):
    """What can be asked of an array that stays where it is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its numbers' type."""

    def __getitem__(self, index: int, /) -> Any:
        """One item along the first axis."""

    def __iter__(self) -> Iterator[Any]:
        """All items along the first axis."""


def open_array(files: Files, path: str) -> Array:
    """An array that stays in its file.

    Args:
        files: Where it lies. On a disk NumPy maps it; elsewhere an item is read when it is asked for.
        path: The file.

    Raises:
        OSError: There is no such file, or it cannot be read.
        EOFError: It is empty.
        ValueError: It is no `.npy` file, is cut short or holds pickled objects.
        TypeError: It is an archive of arrays.
    """
    if isinstance(files, LocalFiles):
        mapped = np.load(files.local(path), mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray):
            raise TypeError("an archive of arrays")
        return mapped
    with files.open(path) as stream:
        start = stream.read(6)
        if not start:
            raise EOFError("No data left in file")
        if start.startswith(b"PK\x03\x04"):
            raise TypeError("an archive of arrays")
        stream.seek(0)
        shape, fortran, dtype = _header(stream)
        offset = stream.tell()
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if fortran and len(shape) > 1:
            raise ValueError("it is in Fortran order, in which no item lies in one piece")
        needed = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        length = stream.seek(0, 2)
        if length < needed:
            raise ValueError(f"{length} bytes, of {needed}: cut short")
    return _Stored(files, path, shape, dtype, offset)


@dataclass(frozen=True)
class _Stored:
    """An array of which items are read from a file, C order.

    Args:
        files: Where it lies.
        path: The file.
        shape: Its shape.
        dtype: Its numbers' type.
        offset: Where its first item begins, in bytes.
    """

    files: Files
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    def __getitem__(self, index: int, /) -> Any:
        return self._items(range(self.shape[0])[index], 1)[0]

    def __iter__(self) -> Iterator[Any]:
        yield from self._items(0, self.shape[0])

    def _items(self, first: int, count: int) -> npt.NDArray[Any]:
        length = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        with self.files.open(self.path) as stream:
            stream.seek(self.offset + first * length)
            data = stream.read(count * length)
        if len(data) < count * length:
            raise ValueError("cut short")
        return np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    match version:
        case (1, 0):
            return npy.read_array_header_1_0(stream)
        case (2, 0):
            return npy.read_array_header_2_0(stream)
        case _:
            raise ValueError(f"version {version} of the format is for field names, which are not expected")
