"""What `prepare` writes when all parts are there: index, quarantine, `manifest.json` and `_SUCCESS`."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.chunks import ROW_GROUP, Job
from pipelines.ledger.layout import PROPORTIONS_TABLE, SUCCESS, pool_key
from pipelines.pool import INDEX
from pipelines.sources import FORMAT, Census
from weakseg import codec
from weakseg.datasets.layout import claimed_twice
from weakseg.datasets.splits import SPLITS
from weakseg.errors import DataError
from weakseg.schema import QUARANTINE, VOID

_OWN_COLUMNS = INDEX.names[:5]
"""The columns of the index that the images table has too."""

INDEX_ROWS = 65_536
"""Rows of the index written at a time."""

READERS = 16
"""Parts read at a time: on S3 each takes some requests, and there may be tens of thousands."""

_T = TypeVar("_T")


@dataclass
class _Survey:
    """What is counted while all parts are looked over once."""

    rows: list[int] = field(default_factory=list)
    images: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    height: list[int] = field(default_factory=list)
    width: list[int] = field(default_factory=list)
    content: Any = field(default_factory=hashlib.sha256)


def finish(job: Job, found: Census) -> None:
    """Describe the pool once all its parts are there, reading no image; the mark of success comes last.

    Raises:
        DataError: Not one image is left, two have one name, or all masks are class 0 and void.
        ResourceError: The storage cannot be written.
    """
    storage, folder = job.storage, pool_key(job.digest)
    broken = [storage.read_table(key) for key in storage.list(f"{folder}/quarantine")]
    quarantine = pa.concat_tables([QUARANTINE.empty_table(), *broken])
    storage.write_table(f"{folder}/quarantine.parquet", quarantine)
    survey = _survey(job, found)
    if not survey.images:
        first = quarantine["error"][0].as_py()
        raise DataError(f"not one of {found.sources} images can be used; the first: {first}")
    _refuse_duplicates(job, found)
    _refuse_black_and_white(job)
    storage.write_bytes(f"{folder}/classes.yaml", job.layout.classes.to_yaml().encode())
    manifest = {
        "format": FORMAT,
        "digest": job.digest,
        "layout": job.layout.name,
        "settings": {"size": job.size, "tile": job.tile},
        "sources": found.sources,
        "chunk": found.chunk,
        "images": {split: survey.images[split] for split in SPLITS},
        "masks": {split: survey.masks[split] for split in SPLITS},
        "quarantined": quarantine.num_rows,
        "height": survey.height,
        "width": survey.width,
        "row_group": ROW_GROUP,
        "rows": survey.rows,
        "content": survey.content.hexdigest(),
        "versions": made_with(),
    }
    storage.write_bytes(f"{folder}/manifest.json", encode(manifest))
    storage.write_bytes(f"{folder}/{SUCCESS}", b"")


def made_with() -> dict[str, str]:
    """The versions of what decides the bytes of a pool."""
    return {name: version(name) for name in ("numpy", "pillow", "pyarrow", "scikit-image")}


def encode(value: Any) -> bytes:
    """JSON as it is stored."""
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _survey(job: Job, found: Census) -> _Survey:
    """Count all parts and write `index.parquet`."""
    survey = _Survey()
    waiting: list[pa.Table] = []
    masks = set(job.storage.list(f"{pool_key(job.digest)}/masks"))

    def read(chunk: int) -> tuple[pa.Table, pa.Table | None]:
        part = job.storage.read_table(job.key("images", chunk), columns=[*_OWN_COLUMNS, "sha256"])
        key = job.key("masks", chunk)
        return part, job.storage.read_table(key, columns=["image_id"]) if key in masks else None

    with job.storage.table_writer(f"{pool_key(job.digest)}/index.parquet", INDEX) as index:
        for chunk, (part, masked) in enumerate(_in_order(read, found.chunks)):
            survey.rows.append(part.num_rows)
            if part.num_rows:
                _count(survey, part, masked)
                places = np.full(part.num_rows, chunk, np.int32), np.arange(part.num_rows, dtype=np.int32)
                waiting.append(pa.table([*part.columns[:-1], *map(pa.array, places)], schema=INDEX))
            if chunk == found.chunks - 1 or sum(table.num_rows for table in waiting) >= INDEX_ROWS:
                index.write(pa.concat_tables([INDEX.empty_table(), *waiting]).combine_chunks())
                waiting.clear()
    return survey


def _count(survey: _Survey, part: pa.Table, masked: pa.Table | None) -> None:
    for digest in part["sha256"].to_pylist():
        survey.content.update(bytes.fromhex(digest))
    for bounds, name in ((survey.height, "height"), (survey.width, "width")):
        values = [*bounds, *pc.min_max(part[name]).as_py().values()]
        bounds[:] = [min(values), max(values)]
    survey.images.update(part["split"].to_pylist())
    if masked is not None:
        has_mask = pc.is_in(part["image_id"], value_set=masked["image_id"].combine_chunks())
        survey.masks.update(part["split"].filter(has_mask).to_pylist())


def _refuse_duplicates(job: Job, found: Census) -> None:
    """Cutting may give a window the name of another image: no label could say which is meant."""

    def read(chunk: int) -> pa.Table:
        return job.storage.read_table(job.key("images", chunk), columns=["image_id", "source"])

    def names() -> Iterator[tuple[str, str]]:
        for part in _in_order(read, found.chunks):
            yield from zip(part["image_id"].to_pylist(), part["source"].to_pylist(), strict=True)

    twice = claimed_twice(names)
    if twice:
        raise DataError(f"image_id {twice[0]} is given twice, by {twice[1]} and by {twice[2]}; rename one of the files")


def _refuse_black_and_white(job: Job) -> None:
    """Grey masks of 0 and 255 are class 0 and void: with them every score would be perfect, and mean nothing."""
    folder, classes = pool_key(job.digest), job.layout.classes
    counted = job.storage.list(f"{folder}/{PROPORTIONS_TABLE}")
    for key in counted:
        values = job.storage.read_table(key, columns=["proportions"])["proportions"].to_pylist()
        if (np.array(values).reshape(-1, len(classes))[:, 1:] > 0).any():
            return
    void = any(
        VOID in codec.read_mask(mask)
        for key in job.storage.list(f"{folder}/masks")
        for mask in job.storage.read_table(key, columns=["mask"])["mask"].to_pylist()
    )
    if void and len(classes) > 1:
        # Corrected files may have the same names and sizes, by which a pool is known: they must be read anew.
        job.storage.delete_tree(folder)
        raise DataError(
            f"no mask holds any class but {classes.names[0]}, and all else in them is 255, which means void: save "
            f"{classes.names[1]} as 1{' and so on' if len(classes) > 2 else ''}, or masks in the colours of the classes"
        )


def _in_order(read: Callable[[int], _T], chunks: int) -> Iterator[_T]:
    """What is read of each chunk, in their order; several are read at a time, and no more held than twice as many."""
    waiting: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for chunk in range(chunks):
                waiting.append(pool.submit(read, chunk))
                if len(waiting) == 2 * READERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
