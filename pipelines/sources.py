"""The list of a data set's source images: what a pool is named after, and what its chunks of work are cut from.

The list is streamed onto the disk, never held: it is as long as the data set.
"""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.files import making, temporary_folder
from pipelines.ledger.layout import pool_key, sources_key
from pipelines.storage import Storage
from pipelines.storage.tables import written_to
from weakseg.datasets import Files, Layout, Source, member
from weakseg.errors import DataError

FORMAT = 2
"""Of the pool's files; another one is another pool."""

CHUNKS_PER_FILE = 256

MOST_PER_CHUNK = 32
"""Sources."""

_ROWS_AT_ONCE = 1024
"""More cost memory, fewer cost time."""

_PLAIN: dict[str, Any] = {"use_dictionary": False, "write_statistics": False}
"""A chunk has some tens of rows: dictionaries and bounds would be larger than these."""

_WHAT = "the list of images"

_row = attrgetter(*(field.name for field in dataclasses.fields(Source)))

_FIELDS = [field.name for field in dataclasses.fields(Source)]

_VERSIONS = ["image_version", "mask_version"]
"""Of the files, beside the names and sizes that the digest covers: a copied data set has other ones."""

_COLUMNS = pa.schema([*((name, pa.string()) for name in _FIELDS), *((name, pa.int64()) for name in _VERSIONS)])


@dataclass(frozen=True)
class Census:
    """The sources of a data set, counted.

    Attributes:
        digest: Of the pool that they make.
        sources: How many there are.
        folder: Holds their list until nothing refers to it.
        versions: A digest of when their files were written.
    """

    digest: str
    sources: int
    folder: "tempfile.TemporaryDirectory[str]" = field(compare=False, repr=False)
    versions: str = field(default="", compare=False)

    @property
    def chunk(self) -> int:
        """Sources per chunk: small data sets are cut into about eight, so that several workers share them."""
        return min(MOST_PER_CHUNK, max(4, -(-self.sources // 8)))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.sources // self.chunk)


def census(layout: Layout, *, size: tuple[int, int] | None, tile: tuple[int, int] | None) -> Census:
    """Go through the sources once: count them, name the pool, and keep their list on this machine's disk.

    The digest covers what decides the pool's content, as far as names and sizes of files tell: settings, classes,
    and of every source its id, split, group, relative paths and file sizes. Neither absolute paths nor times.

    Args:
        layout: The data set.
        size: To which images are resized.
        tile: Into what windows they are cut.

    Raises:
        DataError: There is no image, or the layout finds the data set at fault.
        ResourceError: This machine's disk is full.
    """
    hasher = _hasher(layout, size=size, tile=tile)
    sources, count, versions = _streamed(layout, hasher), 0, hashlib.sha256()
    folder = temporary_folder("weakseg-sources-", _WHAT)
    with written_to(_listing(folder), _COLUMNS, _PLAIN, lambda: making(_WHAT, folder.name)) as writer:
        while rows := list(islice(sources, _ROWS_AT_ONCE)):
            writer.write(pa.table([list(column) for column in zip(*rows, strict=True)], schema=_COLUMNS))
            versions.update(repr([row[-2:] for row in rows]).encode())
            count += len(rows)
    if not count:
        where = getattr(layout, "root", None)
        raise DataError(f"data.layout {layout.name}: no images{f' in {where}' if where else ''}; put some there")
    return Census(hasher.hexdigest()[:12], count, folder, versions.hexdigest())


def write_listing(storage: Storage, found: Census) -> None:
    """Write the list once, as Parquet files with one row group per chunk.

    Raises:
        ResourceError: The storage cannot be written.
    """
    done = f"{pool_key(found.digest)}/sources/_SUCCESS"
    if storage.exists(done):
        return
    with pq.ParquetFile(_listing(found.folder)) as listing:
        for file, table in enumerate(_cut(listing, CHUNKS_PER_FILE * found.chunk)):
            with storage.table_writer(sources_key(found.digest, file), _COLUMNS, **_PLAIN) as writer:
                writer.write(table, row_group_size=found.chunk)
    storage.write_bytes(done, found.versions.encode())


def changed(storage: Storage, found: Census) -> str | None:
    """The first file that was written anew since its pool's list was, None where all are as they were.

    Older lists do not tell. A million files cost one request where nothing has changed.
    """
    try:
        known = storage.read_bytes(f"{pool_key(found.digest)}/sources/_SUCCESS")
    except OSError:  # none yet, or whoever writes will say what is wrong
        return None
    if known in (b"", found.versions.encode()):
        return None
    with pq.ParquetFile(_listing(found.folder)) as listing:
        for file, table in enumerate(_cut(listing, CHUNKS_PER_FILE * found.chunk)):
            before = storage.read_table(sources_key(found.digest, file), columns=_VERSIONS)
            for path, version in (("image", "image_version"), ("mask", "mask_version")):
                for name, old, new in zip(table[path], before[version], table[version], strict=True):
                    if old.as_py() != new.as_py():
                        return str(name)
    return None


def read_chunk(storage: Storage, digest: str, chunk: int) -> list[Source]:
    """The sources of one chunk."""
    file, group = divmod(chunk, CHUNKS_PER_FILE)
    with storage.open_parquet(sources_key(digest, file)) as listing:
        return [Source(**row) for row in listing.read_row_group(group, columns=_FIELDS, use_threads=False).to_pylist()]


def _cut(listing: pq.ParquetFile, rows: int) -> Iterator[pa.Table]:
    """Tables of so many rows; the last may have fewer."""
    rest = _COLUMNS.empty_table()
    for group in range(listing.num_row_groups):
        rest = pa.concat_tables([rest, listing.read_row_group(group, use_threads=False)])
        while rest.num_rows >= rows:
            yield rest.slice(0, rows)
            rest = rest.slice(rows)
    if rest.num_rows:
        yield rest


def _listing(folder: "tempfile.TemporaryDirectory[str]") -> Path:
    return Path(folder.name, "sources.parquet")


def _hasher(layout: Layout, *, size: tuple[int, int] | None, tile: tuple[int, int] | None) -> Any:
    settings: dict[str, Any] = {
        "format": FORMAT,
        "layout": layout.name,
        "size": size,
        "tile": tile,
        "classes": layout.classes.to_yaml(),
    }
    if not hasattr(layout, "files"):
        # Without files the settings alone (seed, number, size) say what the images are.
        fields = [field.name for field in dataclasses.fields(layout) if field.name not in ("name", "classes")]  # type: ignore[arg-type]
        settings["generated"] = {name: repr(getattr(layout, name)) for name in fields}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode())


def _streamed(layout: Layout, hasher: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of the list one by one, feeding the hash on the way."""
    files: Files | None = getattr(layout, "files", None)
    for source in layout.sources():
        row: list[Any] = [*_row(source)]
        versions: list[int | None] = [None, None]
        if files is not None:
            paths = [None if path is None else member(path)[0] for path in (source.image, source.mask)]
            row += [_told(files, files.size, path) for path in paths if path is not None]
            versions = [None if path is None else _told(files, files.version, path) for path in paths]
        hasher.update(json.dumps(row).encode() + b"\n")
        yield (*_row(source), *versions)


def _told(files: Files, ask: Callable[[str], int], path: str) -> int:
    try:
        return ask(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read in {files.root} ({error.strerror}): restore it and start again"
        ) from error
