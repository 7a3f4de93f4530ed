"""The files of a data set on S3: `data.path: s3://bucket/prefix`.

A folder is paged through once, with all below it, into a listing on this machine's disk: names and sizes come from
there, so that no object is asked for anything before it is read.
"""

import errno
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from botocore.exceptions import ClientError

from pipelines import s3
from pipelines.listing import Listed, Listing, write_listing
from pipelines.s3 import Address
from pipelines.s3_refusals import code, refusals
from weakseg.errors import DataError, ResourceError

HEAD = 2**16
"""Bytes of a file that come with its size when it is opened."""

WHOLE = 2**28
"""Files up to so many bytes are fetched as a whole when a part of them is wanted: pages of a stack are all over it."""


def open_files(path: str | None, *, setting: str = "data.path") -> "BucketFiles | None":
    """The files at an address; None where a path is a folder's, or nothing.

    Args:
        path: `data.path`.
        setting: What errors call it.

    Raises:
        DataError: There is no object below the address.
        ResourceError: It is no address, there is no such bucket, or S3 refuses.
    """
    if path is None or not s3.is_s3(path):
        return None
    try:
        address = Address.parse(path)
    except ResourceError as error:
        raise ResourceError(f"{setting}: {error}") from error
    files = BucketFiles(address, setting)
    if next(files.entries(""), None) is None:
        raise DataError(f"{setting} {path}: nothing lies there; expected s3://bucket/prefix, the folder of the images")
    return files


class _Held:
    """What a process has listed and fetched: on its disk, deleted when it ends."""

    def __init__(self) -> None:
        self.listings: dict[str, Listing] = {}
        self.heads: dict[str, _Head] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._made = 0

    def new(self) -> Path:
        """A path that nothing else has."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="weakseg-data-", ignore_cleanup_errors=True)
        self._made += 1
        return Path(self._folder.name, str(self._made))


@dataclass
class _Head:
    """An object that was opened: its first bytes, its size and its version, and where it lies if it was fetched."""

    data: bytes
    size: int
    etag: str
    fetched: Path | None = None


@dataclass(frozen=True)
class BucketFiles:
    """Files below an address (see :class:`weakseg.datasets.Files`). Travels without what it has listed.

    Args:
        address: The folder of the data set.
        setting: What errors call it.
    """

    address: Address
    setting: str = field(default="data.path", compare=False)
    _held: _Held = field(default_factory=_Held, compare=False, repr=False)

    def __reduce__(self) -> tuple[type["BucketFiles"], tuple[Address, str]]:
        return BucketFiles, (self.address, self.setting)

    @property
    def root(self) -> str:
        """The address."""
        return self.address.uri

    @property
    def ordered(self) -> bool:
        """True: S3 lists keys by their bytes."""
        return True

    def entries(self, folder: str) -> Iterator[Listed]:
        """What a folder holds: files by name, folders among them."""
        listing, prefix = self._listing(f"{folder}/") if folder else (self._listing("")[0], "")
        if folder and not listing.has_folder(prefix):
            raise _missing(folder)
        return listing.children(prefix)

    def is_file(self, path: str) -> bool:
        """Whether there is such an object."""
        listing, name = self._listing(path)
        return listing.size(name) is not None

    def is_folder(self, path: str) -> bool:
        """Whether there is an object below such a folder."""
        if "/" not in path:
            return self._listing("")[0].has_folder(f"{path}/")
        listing, prefix = self._listing(f"{path}/")
        return listing.has_folder(prefix)

    def size(self, path: str) -> int:
        """The size of an object as it was listed."""
        listing, name = self._listing(path)
        size = listing.size(name)
        if size is None:
            raise _missing(path)
        return size

    def version(self, path: str) -> int:
        """A checksum of an object's ETag as it was listed."""
        listing, name = self._listing(path)
        version = listing.version(name)
        if version is None:
            raise _missing(path)
        return version

    def read(self, path: str) -> bytes:
        """All bytes of an object."""
        return self._fetch(path)["Body"]

    def open(self, path: str) -> BinaryIO:
        """An object to read parts of: a copy on this disk if it is small, else what is read is fetched."""
        head = self._held.heads.get(path)
        if head is None:
            head = self._held.heads[path] = self._head(path)
        if head.size <= len(head.data):
            return io.BytesIO(head.data)
        if head.size > WHOLE:
            return io.BufferedReader(_Parts(head, lambda first, end: self._part(path, head, first, end)), HEAD)
        if head.fetched is None:
            target = self._held.new()
            with self._asking(path):
                s3.client().download_file(self.address.bucket, self._key(path), str(target))
            head.fetched = target
        return head.fetched.open("rb")

    def _listing(self, path: str) -> tuple[Listing, str]:
        """The listing in which a path stands, and its name there. Each folder of the root has one of its own."""
        top, slash, name = path.partition("/")
        if not slash:
            top, name = "", path
        if top not in self._held.listings:
            target = self._held.new()
            try:
                self._held.listings[top] = write_listing(target, self._objects(top))
            except ValueError as error:
                raise ResourceError(
                    f"{self.setting} {self.root}: the bucket does not list its objects in order ({error}), as buckets "
                    "of one zone do not; copy the data set into a general purpose bucket"
                ) from error
        return self._held.listings[top], name

    def _objects(self, top: str) -> Iterator[tuple[str, int, int]]:
        """Names, sizes, versions below a folder of the root; of the root itself what lies in it, folders with a /."""
        options = {} if top else {"Delimiter": "/"}
        prefix = self._key(f"{top}/" if top else "")
        pages = s3.pages(self.address.bucket, prefix, **options)
        while True:
            with self._asking():
                page = next(pages, None)
            if page is None:
                return
            found = [
                (entry["Key"][len(prefix) :], entry["Size"], crc32(entry.get("ETag", "").encode()))
                for entry in page.get("Contents", ())
            ]
            if "CommonPrefixes" in page:
                found += [(entry["Prefix"][len(prefix) :], 0, 0) for entry in page["CommonPrefixes"]]
                found.sort()
            for name, size, version in found:
                if name.startswith("/") or "//" in name:
                    raise DataError(
                        f"s3://{self.address.bucket}/{prefix}{name}: no file or folder can have an empty name: rename "
                        "the object or delete it"
                    )
                if name:  # the folder itself, as some tools leave it behind
                    yield name, size, version

    def _head(self, path: str) -> _Head:
        try:
            reply = self._fetch(path, Range=f"bytes=0-{HEAD - 1}")
        except ResourceError as error:
            if isinstance(error.__cause__, ClientError) and code(error.__cause__) in ("InvalidRange", "416"):
                return _Head(b"", 0, "")
            raise
        whole = str(reply.get("ContentRange", "")).rpartition("/")[2]
        return _Head(reply["Body"], int(whole) if whole.isdecimal() else len(reply["Body"]), reply["ETag"])

    def _part(self, path: str, head: _Head, first: int, end: int) -> bytes:
        # Of the object that was opened, or of none.
        return self._fetch(path, Range=f"bytes={first}-{end - 1}", IfMatch=head.etag)["Body"]

    def _fetch(self, path: str, **options: Any) -> dict[str, Any]:
        try:
            with self._asking(path):
                return s3.fetch(self.address.bucket, self._key(path), **options)
        except FileNotFoundError:
            raise _missing(path) from None

    def _key(self, path: str) -> str:
        return f"{self.address.prefix}/{path}" if self.address.prefix else path

    @contextmanager
    def _asking(self, path: str = "") -> Iterator[None]:
        """Refusals name the setting and what was asked for."""
        with refusals(f"{self.setting} {self.root}{'/' if path else ''}{path}", reading=True):
            yield


class _Parts(io.RawIOBase):
    """An object of which parts are fetched when they are read."""

    def __init__(self, head: _Head, fetch: Callable[[int, int], bytes]) -> None:
        """Read an object through a function from first byte and end to bytes."""
        self._head, self._fetch, self._at = head, fetch, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere else."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._head.size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read at most as much as there is room for."""
        end = min(self._at + len(buffer), self._head.size)
        if end <= self._at:
            return 0
        data = self._head.data[self._at : end] or self._fetch(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
