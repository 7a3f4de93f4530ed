"""Storage in a folder, safe against a crash at any moment: files are written beside their name, flushed and renamed."""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as arrow_fs

from pipelines.files import TEMPORARY, Lock, beside, flush, link, make_folder, reason, refusing
from pipelines.storage.tables import TableWriter, written_to
from weakseg.errors import ResourceError


@dataclass(frozen=True)
class Folder:
    """A folder of files named by keys: posix paths relative to the root, which no key can leave.

    Args:
        root: The folder, absolute.
    """

    root: str

    @property
    def is_local(self) -> bool:
        """Files have paths on this machine."""
        return True

    @property
    def fs(self) -> arrow_fs.FileSystem:
        """The Arrow file system that reads :attr:`path`."""
        return arrow_fs.LocalFileSystem()

    @property
    def path(self) -> str:
        """The root as :attr:`fs` names it."""
        return self.root

    def local_path(self, key: str) -> Path:
        """Where a key's file lies on this machine (it need not exist).

        Raises:
            ValueError: If the key is absolute or climbs with ``..``.
        """
        parts = PurePosixPath(key).parts
        if key.startswith("/") or ".." in parts or "\\" in key or "\0" in key:
            raise ValueError(f"storage key {key!r} would leave the root: keys are relative, without '..'")
        return Path(self.root, *parts)

    def address(self, key: str = "") -> str:
        """Where a key lies on this machine."""
        return str(self.local_path(key))

    def exists(self, key: str) -> bool:
        """Whether a file of this key is there, whole, or a folder with any file below it."""
        return self.local_path(key).is_file() or any(True for _ in self._walk(key))

    def read_bytes(self, key: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If there is none.
        """
        return self.local_path(key).read_bytes()

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there.

        Raises:
            ResourceError: If the storage cannot be written.
        """
        with self._staged(key) as temporary, refusing(self.root, key):
            temporary.write_bytes(data)

    def create_once(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one: of any number of writers at once exactly one succeeds.

        Returns:
            True if this call made the file, False if it was there already (and is left as it is).

        Raises:
            ResourceError: If the storage cannot be written or has no hard links.
        """
        path = self.local_path(key)
        with refusing(self.root, key):
            temporary = beside(path)
            try:
                temporary.write_bytes(data)
                flush(temporary)
                if not link(self.root, temporary, path):
                    return False
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            flush(path.parent)
        return True

    def list(self, prefix: str = "") -> list[str]:
        """The keys of all files below a folder, sorted; empty where there is none. Files in the making are left out."""
        return sorted(self._walk(prefix))

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below a folder that have any file in them, sorted."""
        top = self.local_path(prefix)
        if not top.is_dir():
            return []
        names = [entry.name for entry in os.scandir(top) if entry.is_dir() and not entry.name.endswith(TEMPORARY)]
        return sorted(name for name in names if self.exists(f"{prefix}/{name}" if prefix else name))

    def delete_tree(self, prefix: str) -> None:
        """Delete a file or a folder with all below it; it disappears from view at once. Nothing there is fine.

        Raises:
            ResourceError: If the storage cannot be written.
            ValueError: If the prefix is the root itself.
        """
        path = self.local_path(prefix)
        if path == Path(self.root):
            raise ValueError("refusing to delete the whole storage; name a folder below its root")
        if not path.exists():
            return
        with refusing(self.root, prefix):
            if path.is_dir():
                doomed = beside(path)
                path.rename(doomed)
                shutil.rmtree(doomed)
            else:
                path.unlink(missing_ok=True)
            flush(path.parent)

    def sweep(self, prefix: str = "") -> int:
        """Delete what writers that died left unfinished below a folder. Only for the one who owns the folder.

        Returns:
            How many files and folders were deleted.
        """
        swept = 0
        with refusing(self.root, prefix):
            for folder, names, files in os.walk(self.local_path(prefix)):
                for name in [name for name in names if name.endswith(TEMPORARY)]:
                    names.remove(name)
                    shutil.rmtree(Path(folder, name), ignore_errors=True)
                    swept += 1
                for name in [name for name in files if name.endswith(TEMPORARY)]:
                    Path(folder, name).unlink(missing_ok=True)
                    swept += 1
        return swept

    def upload_folder(self, key: str, folder: Path) -> None:
        """Write all files of a folder below a key, each whole; what else lies there stays.

        Raises:
            ResourceError: If the storage cannot be written.
        """
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = f"{key}/{file.relative_to(folder).as_posix()}"
            with self._staged(target) as temporary, refusing(self.root, target):
                shutil.copyfile(file, temporary)

    def download_folder(self, key: str, folder: Path) -> None:
        """Copy all files below a key into a folder, which is made.

        Raises:
            FileNotFoundError: If there are none.
        """
        keys = self.list(key)
        if not keys:
            raise FileNotFoundError(f"nothing below {self.address(key)}")
        for found in keys:
            target = folder / PurePosixPath(found).relative_to(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.local_path(found), target)

    def read_table(self, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file as a table.

        Args:
            key: The file.
            columns: The columns to read, all by default.

        Raises:
            FileNotFoundError: If there is none.
        """
        with self.open_parquet(key) as file:
            return file.read(columns=None if columns is None else list(columns))

    def open_parquet(self, key: str) -> pq.ParquetFile:
        """A Parquet file opened for reading in parts (row groups, columns); close it or use it in a ``with``.

        Raises:
            FileNotFoundError: If there is none.
        """
        return pq.ParquetFile(pa.OSFile(str(self.local_path(key)), "rb"))

    def write_table(self, key: str, table: pa.Table, *, row_group_size: int | None = None) -> None:
        """Write a table as one Parquet file, whole or not at all.

        Raises:
            ResourceError: If the storage cannot be written.
        """
        with self.table_writer(key, table.schema) as writer:
            writer.write(table, row_group_size=row_group_size)

    @contextmanager
    def table_writer(self, key: str, schema: pa.Schema, **options: Any) -> Iterator[TableWriter]:
        """Write a Parquet file row group by row group; it appears when the block ends without an exception.

        Args:
            key: The file.
            schema: Its columns.
            options: What ``pyarrow.parquet.ParquetWriter`` takes (compression, ...).

        Raises:
            ResourceError: If the storage cannot be written.
        """
        with (
            self._staged(key) as temporary,
            written_to(temporary, schema, options, lambda: refusing(self.root, key)) as writer,
        ):
            yield writer

    def lock(self, key: str, *, wait: bool = False) -> Lock:
        """Take the lock of a key: it is free again when released or when this process ends, however it ends.

        Args:
            key: The lock's file; it stays.
            wait: Whether to wait for another holder instead of failing.

        Raises:
            BlockingIOError: If another holds it and ``wait`` is false.
            ResourceError: If the storage cannot be written or cannot lock.
        """
        path = self.local_path(key)
        with refusing(self.root, key):
            make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            return Lock(descriptor, wait=wait)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ResourceError(
                f"storage {self.root} cannot lock files ({reason(error)}); choose a folder on a file system that can, "
                "with --set storage.root=FOLDER"
            ) from error

    def check(self) -> None:
        """Find out whether the storage can be written, by doing it.

        Raises:
            ResourceError: If it cannot.
        """
        probe = f"probe-{secrets.token_hex(4)}{TEMPORARY}"
        self.write_bytes(probe, b"weakseg")
        self.local_path(probe).unlink(missing_ok=True)
        self.create_once(probe, b"weakseg")
        self.local_path(probe).unlink(missing_ok=True)

    def reach(self) -> None:
        """A folder is always there, or is made."""

    def _walk(self, prefix: str) -> Iterator[str]:
        root = Path(self.root)
        for folder, names, files in os.walk(self.local_path(prefix)):
            names[:] = [name for name in names if not name.endswith(TEMPORARY)]
            for name in files:
                if not name.endswith(TEMPORARY):
                    yield Path(folder, name).relative_to(root).as_posix()

    @contextmanager
    def _staged(self, key: str) -> Iterator[Path]:
        """A temporary path that takes the key's name when the block ends well."""
        path = self.local_path(key)
        with refusing(self.root, key):
            temporary = beside(path)
        try:
            yield temporary
            with refusing(self.root, key):
                flush(temporary)
                temporary.replace(path)
                flush(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
