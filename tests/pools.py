"""Pools for tests, made chunk by chunk in this process: no Ray."""

from pathlib import Path

from pipelines.chunks import Job, process_chunk
from pipelines.manifest import finish
from pipelines.pool import Pool
from pipelines.sources import census, write_listing
from pipelines.storage import open_storage
from weakseg.datasets import Coarse, Layout


def make_pool(
    layout: Layout,
    root: Path | str,
    *,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    segments: int = 0,
    coarse: Coarse | None = None,
) -> Pool:
    """Prepare a data set below a folder."""
    storage = open_storage(root)
    found = census(layout, size=size, tile=tile)
    write_listing(storage, found)
    job = Job(storage, found.digest, layout, size=size, tile=tile, segments=segments, coarse=coarse)
    for chunk in range(found.chunks):
        process_chunk(job, chunk)
    finish(job, found)
    return Pool(storage, found.digest, segments=segments, coarse=job.coarse_labels)
