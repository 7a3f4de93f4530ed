"""Storage on S3: the promises of a folder, kept by requests that are done whole or not at all.

Nothing is renamed there: a file is made on the local disk and put in one request. "Create once" and "advance" are puts
under a condition, which the server must know (:meth:`Bucket.check` finds out).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as arrow_fs

from pipelines import s3
from pipelines.files import making, temporary_folder
from pipelines.s3_refusals import refusals
from pipelines.storage import claim, objects, probe
from pipelines.storage.tables import TableWriter, written_to

PAGE = 1000
"""Keys that S3 deletes in one request."""


@dataclass(frozen=True)
class Bucket:
    """Files named by keys: posix paths relative to the root, which no key can leave.

    Args:
        at: The root.
    """

    at: s3.Address

    @property
    def root(self) -> str:
        """``s3://bucket/prefix``."""
        return self.at.uri

    @property
    def is_local(self) -> bool:
        """Files have no paths on this machine."""
        return False

    @property
    def fs(self) -> arrow_fs.FileSystem:
        """The Arrow file system that reads :attr:`path`."""
        return s3.filesystem()

    @property
    def path(self) -> str:
        """The root as :attr:`fs` names it."""
        return f"{self.at.bucket}/{self.at.prefix}".rstrip("/")

    def address(self, key: str = "") -> str:
        """Where a key lies: ``s3://bucket/prefix/key``."""
        return s3.Address(self.at.bucket, self.at.key(key)).uri

    def exists(self, key: str) -> bool:
        """Whether there is an object of this key, or any below it.

        Raises:
            ResourceError: If S3 refuses to tell.
        """
        found = self.at.key(key)
        with self._asking():
            if key and objects.exists(self.at.bucket, found):
                return True
            page = s3.client().list_objects_v2(Bucket=self.at.bucket, Prefix=_below(found), MaxKeys=1)
            return bool(page.get("KeyCount"))

    def read_bytes(self, key: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If there is none.
            ResourceError: If S3 refuses.
        """
        return self.read_versioned(key)[0]

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """The content of a file, and its version (the etag), which :meth:`replace` takes.

        Raises:
            FileNotFoundError: If there is none.
            ResourceError: If S3 refuses.
        """
        with self._asking():
            reply = s3.fetch(self.at.bucket, self.at.key(key))
            return reply["Body"], reply["ETag"]

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there.

        Raises:
            ResourceError: If S3 refuses.
        """
        with self._asking():
            s3.client().put_object(Bucket=self.at.bucket, Key=self.at.key(key), Body=data)

    def create_once(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one: of any number of writers at once exactly one succeeds.

        Returns:
            True if this call made the file, False if it was there already (and is left as it is).

        Raises:
            ResourceError: If S3 refuses.
        """
        return self.replace(key, data, None) is not None

    def replace(self, key: str, data: bytes, version: str | None) -> str | None:
        """Write a file if it is still of a version: of any number of writers at once exactly one succeeds.

        Args:
            key: The file.
            data: Its new content, unlike any that this file had before: S3 makes the version from the content.
            version: As :meth:`read_versioned` gave it; None = only if there is no such file.

        Returns:
            The new version, None if the file is of another one by now.

        Raises:
            ResourceError: If S3 refuses.
        """
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._asking():
            return objects.put(self.at.bucket, self.at.key(key), data, **condition)

    def list(self, prefix: str = "") -> list[str]:
        """The keys of all files below a folder, sorted; empty where there is none.

        Raises:
            ResourceError: If S3 refuses.
        """
        return sorted(self._walk(prefix))

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below a folder, sorted; empty where there is none.

        Raises:
            ResourceError: If S3 refuses.
        """
        below = _below(self.at.key(prefix))
        with self._asking():
            pages = s3.pages(self.at.bucket, below, Delimiter="/")
            names = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return sorted(name.removeprefix(below).rstrip("/") for name in names)

    def delete_tree(self, prefix: str) -> None:
        """Delete a file or a folder with all below it, in the order of the keys. Nothing there is fine.

        Raises:
            ResourceError: If S3 refuses.
            ValueError: If the prefix is the root itself.
        """
        found = self.at.key(prefix)
        if found == self.at.key():
            raise ValueError("refusing to delete the whole storage; name a folder below its root")
        with self._asking():
            s3.client().delete_object(Bucket=self.at.bucket, Key=found)
            for page in s3.pages(self.at.bucket, _below(found), MaxKeys=PAGE):
                keys = [entry["Key"] for entry in page.get("Contents", [])]
                if keys:
                    objects.delete(self.at.bucket, keys)

    def sweep(self, prefix: str = "") -> int:
        """Abort uploads that writers who died left unfinished below a folder. Only for the one who owns the folder.

        Returns:
            How many were aborted.

        Raises:
            ResourceError: If S3 refuses.
        """
        with self._asking():
            return objects.abort_uploads(self.at.bucket, _below(self.at.key(prefix)))

    def upload_folder(self, key: str, folder: Path) -> None:
        """Write all files of a local folder below a key, each whole; what else lies there stays.

        Raises:
            ResourceError: If S3 refuses.
        """
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            with self._asking():
                objects.send(self.at.bucket, self.at.key(f"{key}/{file.relative_to(folder).as_posix()}"), file)

    def download_folder(self, key: str, folder: Path) -> None:
        """Copy all files below a key into a local folder, which is made.

        Raises:
            FileNotFoundError: If there are none.
            ResourceError: If S3 refuses.
        """
        keys = self.list(key)
        if not keys:
            raise FileNotFoundError(f"nothing below {self.address(key)}")
        for found in keys:
            target = folder / PurePosixPath(found).relative_to(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._asking():
                objects.receive(self.at.bucket, self.at.key(found), target)

    def read_table(self, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file, or some of its columns, as a table.

        Raises:
            FileNotFoundError: If there is none.
            ResourceError: If S3 refuses.
        """
        if columns is None:
            return pq.read_table(pa.BufferReader(self.read_bytes(key)))
        with self.open_parquet(key) as file:
            return file.read(columns=list(columns))

    def open_parquet(self, key: str) -> pq.ParquetFile:
        """A Parquet file opened for reading in parts: one request for its end, one for each column of a row group.

        Raises:
            FileNotFoundError: If there is none.
            ResourceError: If S3 refuses.
        """
        return pq.ParquetFile(pa.PythonFile(objects.RangeFile(self.at.bucket, self.at.key(key), self._what), "r"))

    def write_table(self, key: str, table: pa.Table, *, row_group_size: int | None = None) -> None:
        """Write a table as one Parquet file, whole or not at all.

        Raises:
            ResourceError: If S3 refuses.
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
            ResourceError: If S3 refuses, or the local disk on which the file is made.
        """
        found = self.at.key(key)
        what = f"{PurePosixPath(key).name} on its way to {self.root}"
        with temporary_folder("weakseg-", what) as folder:
            file = Path(folder, PurePosixPath(key).name)
            with written_to(file, schema, options, lambda: making(what, folder)) as writer:
                yield writer
            with self._asking():
                objects.send(self.at.bucket, found, file)

    def lock(self, key: str, *, wait: bool = False) -> claim.Claim:
        """Take the lock of a key: it is free again when released, or half a minute after this process ended.

        Args:
            key: The lock's file; it stays.
            wait: Whether to wait for another holder instead of failing.

        Raises:
            BlockingIOError: If another holds it and ``wait`` is false.
            ResourceError: If S3 refuses.
        """
        held = claim.Claim(self, key, heartbeat=claim.HEARTBEAT_SECONDS)
        held.acquire(wait=wait)
        return held

    def reach(self) -> None:
        """Find out soon whether the storage answers; raises as :meth:`check`."""
        probe.reach(self.at, self._what)

    def check(self) -> None:
        """Do all that is done with it; ResourceError if S3 refuses something, or knows no puts under a condition."""
        probe.check(self.at, self._what)

    @property
    def _what(self) -> str:
        return f"storage.root {self.root}"

    def _asking(self) -> AbstractContextManager[None]:
        return refusals(self._what)

    def _walk(self, prefix: str) -> Iterator[str]:
        with self._asking():
            for page in s3.pages(self.at.bucket, _below(self.at.key(prefix))):
                for entry in page.get("Contents", []):
                    if not entry["Key"].endswith("/"):  # what consoles make to show an empty folder
                        yield self.at.relative(entry["Key"])


def _below(key: str) -> str:
    """What all keys in a folder begin with."""
    return f"{key}/" if key else ""
