"""What every kind of storage promises; one contract test holds all of them to it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as arrow_fs

from pipelines.storage.tables import TableWriter


class Held(Protocol):
    """A lock that is held; what :meth:`Storage.lock` gives."""

    def release(self) -> None:
        """Let others take the lock; a second call does nothing."""

    def __enter__(self) -> Self:
        """Hold the lock for a block."""

    def __exit__(self, *exception: object) -> None:
        """Release it."""


class Storage(Protocol):
    """Files named by keys: posix paths relative to the root, which no key can leave (ValueError).

    Small, frozen and picklable: workers get it and open files themselves. Whatever the storage refuses for good is a
    ResourceError of one line; what passes (throttling, a reset, a stall) is tried again before.
    """

    @property
    def root(self) -> str:
        """As people write it: an absolute folder, or ``s3://bucket/prefix``."""

    @property
    def is_local(self) -> bool:
        """Whether files have paths on this machine."""

    @property
    def fs(self) -> arrow_fs.FileSystem:
        """The Arrow file system that reads :attr:`path`."""

    @property
    def path(self) -> str:
        """The root as :attr:`fs` names it."""

    def address(self, key: str = "") -> str:
        """Where a key lies, for people and for MLflow: an absolute path or an s3:// address."""

    def exists(self, key: str) -> bool:
        """Whether a file of this key is there, whole, or a folder with anything in it."""

    def read_bytes(self, key: str) -> bytes:
        """The content of a file; FileNotFoundError if there is none."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there."""

    def create_once(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one: of any number of writers at once exactly one succeeds.

        Returns:
            True if this call made the file, False if it was there already (and is left as it is).
        """

    def list(self, prefix: str = "") -> list[str]:
        """The keys of all files below a folder, sorted; empty where there is none. Files in the making are left out."""

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below a folder, sorted; empty where there is none."""

    def delete_tree(self, prefix: str) -> None:
        """Delete a file or a folder with all below it. Nothing there is fine; ValueError for the root itself."""

    def sweep(self, prefix: str = "") -> int:
        """Delete what writers that died left unfinished below a folder. Only for the one who owns the folder.

        Returns:
            How much was deleted.
        """

    def upload_folder(self, key: str, folder: Path) -> None:
        """Write all files of a local folder below a key, each whole; what else lies there stays."""

    def download_folder(self, key: str, folder: Path) -> None:
        """Copy all files below a key into a local folder, which is made; FileNotFoundError if there are none."""

    def read_table(self, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file, or some of its columns, as a table; FileNotFoundError if there is none."""

    def open_parquet(self, key: str) -> pq.ParquetFile:
        """A Parquet file opened for reading in parts (row groups, columns); close it or use it in a ``with``."""

    def write_table(self, key: str, table: pa.Table, *, row_group_size: int | None = None) -> None:
        """Write a table as one Parquet file, whole or not at all."""

    def table_writer(self, key: str, schema: pa.Schema, **options: Any) -> AbstractContextManager[TableWriter]:
        """Write a Parquet file row group by row group; it appears when the block ends without an exception.

        Args:
            key: The file.
            schema: Its columns.
            options: What ``pyarrow.parquet.ParquetWriter`` takes (compression, ...).
        """

    def lock(self, key: str, *, wait: bool = False) -> Held:
        """Take the lock of a key: it is free again when released, or (in a folder at once) when this process ends.

        Args:
            key: The lock's file; it stays.
            wait: Whether to wait for another holder instead of failing.

        Raises:
            BlockingIOError: If another holds it and ``wait`` is false.
        """

    def reach(self) -> None:
        """Find out soon whether the storage answers; ResourceError if it does not."""

    def check(self) -> None:
        """Find out whether the storage can be used, by doing it; ResourceError if it cannot."""
