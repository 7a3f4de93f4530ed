"""The list of a data set's source images: what a pool is named after, and what its chunks of work are cut from.

The list is streamed, never held: it is as long as the data set.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

import pyarrow as pa

from pipelines.ledger.layout import pool_key, sources_key
from pipelines.storage import Storage
from weakseg.datasets import Files, Layout, Source, member
from weakseg.errors import DataError

FORMAT = 2
"""Of the pool's files; another one is another pool."""

CHUNKS_PER_FILE = 256

_CHUNKS_AT_ONCE = 8
"""Of the listing: more cost memory, fewer cost time."""

_PLAIN = {"use_dictionary": False, "write_statistics": False}
"""A chunk has some tens of rows: dictionaries and bounds would be larger than these."""

_row = attrgetter(*(field.name for field in dataclasses.fields(Source)))

_COLUMNS = pa.schema([(field.name, pa.string()) for field in dataclasses.fields(Source)])


@dataclass(frozen=True)
class Census:
    """How many sources there are, and the digest of the pool that they make."""

    digest: str
    sources: int

    @property
    def chunk(self) -> int:
        """Sources per chunk: small data sets are cut into about eight, so that several workers share them."""
        return min(32, max(4, -(-self.sources // 8)))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.sources // self.chunk)


def census(layout: Layout, *, size: tuple[int, int] | None, tile: tuple[int, int] | None) -> Census:
    """Count the sources and name the pool.

    The digest covers what decides the pool's content, as far as names and sizes of files tell: settings, classes,
    and of every source its id, split, group, relative paths and file sizes. Neither absolute paths nor times.

    Args:
        layout: The data set.
        size: To which images are resized.
        tile: Into what windows they are cut.

    Raises:
        DataError: There is no image, or the layout finds the data set at fault.
    """
    hasher = _hasher(layout, size=size, tile=tile)
    count = sum(1 for _ in _streamed(layout, hasher))
    if not count:
        where = getattr(layout, "root", None)
        raise DataError(f"data.layout {layout.name}: no images{f' in {where}' if where else ''}; put some there")
    return Census(hasher.hexdigest()[:12], count)


def write_listing(
    storage: Storage, layout: Layout, found: Census, *, size: tuple[int, int] | None, tile: tuple[int, int] | None
) -> None:
    """Write the list once, as Parquet files with one row group per chunk.

    Raises:
        DataError: The data set changed since the census.
        ResourceError: The storage cannot be written.
    """
    done = f"{pool_key(found.digest)}/sources/_SUCCESS"
    if storage.exists(done):
        return
    hasher = _hasher(layout, size=size, tile=tile)
    sources = _streamed(layout, hasher)
    for file in range(-(-found.chunks // CHUNKS_PER_FILE)):
        its_own = islice(sources, CHUNKS_PER_FILE * found.chunk)
        with storage.table_writer(sources_key(found.digest, file), _COLUMNS, **_PLAIN) as writer:
            while rows := list(islice(its_own, _CHUNKS_AT_ONCE * found.chunk)):
                columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS.names}
                writer.write(pa.table(columns, schema=_COLUMNS), row_group_size=found.chunk)
    if next(sources, None) is not None or hasher.hexdigest()[:12] != found.digest:
        raise DataError("the data folder changed while it was read; wait until nothing writes to it and start again")
    storage.write_bytes(done, b"")


def read_chunk(storage: Storage, digest: str, chunk: int) -> list[Source]:
    """The sources of one chunk."""
    file, group = divmod(chunk, CHUNKS_PER_FILE)
    with storage.open_parquet(sources_key(digest, file)) as listing:
        return [Source(**row) for row in listing.read_row_group(group, use_threads=False).to_pylist()]


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


def _streamed(layout: Layout, hasher: Any) -> Iterator[Source]:
    """The sources one by one, feeding the hash on the way."""
    files: Files | None = getattr(layout, "files", None)
    for source in layout.sources():
        row: list[Any] = [*_row(source)]
        if files is not None:
            row += [_size(files, member(path)[0]) for path in (source.image, source.mask) if path is not None]
        hasher.update(json.dumps(row).encode() + b"\n")
        yield source


def _size(files: Files, path: str) -> int:
    try:
        return files.size(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read in {files.root} ({error.strerror}): restore it and start again"
        ) from error
