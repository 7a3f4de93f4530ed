"""The prepare stage: source files become a pool of decoded, checked, cut images with masks and superpixels.

Ray Data spreads chunks of source files over the cluster; every chunk writes its own parts, so what a killed run had
finished is never made again. The driver holds neither images nor names: the list of sources is a file too.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.chunks import Job, attempt_chunk
from pipelines.config import Config
from pipelines.console import Console
from pipelines.credentials import worker_env
from pipelines.data_files import open_files
from pipelines.ledger.layout import SUCCESS, pool_key, pool_lock_key
from pipelines.manifest import encode, finish, made_with
from pipelines.pool import Pool
from pipelines.sources import Census, census, changed, write_listing
from pipelines.storage import Storage, open_storage
from weakseg.datasets import Coarse, open_layout
from weakseg.errors import DataError, ResourceError

RAISED = {"data": DataError, "resource": ResourceError}
"""What the `kind` of an error that came back from a task stands for."""

MAX_BLOCKS = 4096
"""Of Ray Data, which holds some kilobytes per block: above it a block is several chunks."""


@dataclass(frozen=True)
class PoolResult:
    """What `prepare` made, or found.

    Attributes:
        digest: The pool's name.
        images: Images by split.
        masks: Masks by split.
        quarantined: Source files left out.
        segments: Superpixels asked for per image; 0 = none.
        chunks: How many chunks this call worked on; 0 = nothing was missing.
    """

    digest: str
    images: dict[str, int]
    masks: dict[str, int]
    quarantined: int
    segments: int
    chunks: int


def run(
    config: Config,
    storage: Storage,
    *,
    console: Console | None = None,
    connect: Callable[[], object] = lambda: None,
    check: Callable[[int], object] = lambda classes: None,
) -> PoolResult:
    """Make the configured pool, or what is missing of it.

    Args:
        config: Sections `data` and `superpixels`, and the seed.
        storage: Where pools lie.
        console: Where progress goes.
        connect: Called before Ray is needed, which it is not where nothing is missing.
        check: Called with the number of classes before anything is made, to refuse what could not use the pool.

    Returns:
        The pool's digest and counts.

    Raises:
        DataError: What the user must put right in the data, naming the file; the pool is not marked as done.
        ResourceError: The storage cannot be written.
    """
    data = config.data
    layout = open_layout(
        data.layout,
        data.path,
        seed=config.seed if data.seed is None else data.seed,
        splits=None if data.splits is None else data.splits.model_dump(),
        images=data.images,
        size=data.size,
        coarse=config.supervision.coarse == "layout",
        files=open_files(data.path),
    )
    check(len(layout.classes.names))
    found = census(layout, size=data.size, tile=data.tile)
    job = Job(
        storage,
        found.digest,
        layout,
        size=data.size,
        tile=data.tile,
        segments=config.superpixels.segments,
        compactness=config.superpixels.compactness,
        coarse=_coarse(config),
    )
    if (file := changed(storage, found)) is not None:
        _tell_changed(job, file, console)
    worked = 0
    if not _complete(job):
        with _only_one(job, console):
            worked = 0 if _complete(job) else _make(job, found, console, connect)
    manifest = Pool(storage, found.digest).manifest
    return PoolResult(
        digest=found.digest,
        images=manifest["images"],
        masks=manifest["masks"],
        quarantined=manifest["quarantined"],
        segments=job.segments,
        chunks=worked,
    )


def _coarse(config: Config) -> Coarse | None:
    supervision = config.supervision
    if supervision.coarse is None or supervision.coarse_file:
        return None
    coarsening = supervision.coarsening
    return Coarse(supervision.coarse, erosion=coarsening.erosion, tolerance=coarsening.tolerance)


def prepare(config: Config, console: Console) -> dict[str, Any]:
    """The verb `prepare`: make the pool and say what is in it.

    Args:
        config: The configuration.
        console: Where progress and the table go.

    Returns:
        The result as plain values.
    """
    from pipelines import resources

    console.run = config.run
    storage = open_storage(config.storage.root)
    result = run(config, storage, console=console, connect=lambda: resources.connect(config, verbose=console.verbose))
    splits = [[split, str(count), str(result.masks.get(split, 0))] for split, count in result.images.items()]
    console.table(f"pool {result.digest}", ["split", "images", "masks"], splits)
    if result.quarantined:
        console.line(f"quarantined: {result.quarantined} files, with reasons in {quarantine_path(storage, result)}")
    if not result.chunks:
        console.line("nothing was missing")
    return asdict(result)


def quarantine_path(storage: Storage, result: PoolResult) -> str:
    """Where the list of quarantined files lies."""
    return storage.address(f"{pool_key(result.digest)}/quarantine.parquet")


def _tell_changed(job: Job, file: str, console: Console | None) -> None:
    """Names and sizes know a pool, so a file that was corrected in place would not be read anew."""
    folder = job.storage.address(pool_key(job.digest))
    if not job.storage.exists(f"{pool_key(job.digest)}/{SUCCESS}"):
        raise DataError(
            f"{file} was written anew while its pool was being prepared, which would hold some files as they were "
            f"before; delete {folder} and start again"
        )
    if console is not None:
        console.line(
            f"warning: {file} was written anew since {folder} was made from it, which is used as it is; if more than "
            "its time has changed, delete that folder and the runs that use it, and start again"
        )


def _complete(job: Job) -> bool:
    markers = [SUCCESS, *(f"{table}/{SUCCESS}" for table in job.tables[1:])]
    return all(job.storage.exists(f"{pool_key(job.digest)}/{marker}") for marker in markers)


@contextmanager
def _only_one(job: Job, console: Console | None) -> Iterator[None]:
    """Two runs may want one pool at the same time: the second waits for what the first makes."""
    key = pool_lock_key(job.digest)
    try:
        lock = job.storage.lock(key)
    except BlockingIOError:
        if console is not None:
            console.line(f"pool {job.digest}: another driver is preparing it; waiting")
        lock = job.storage.lock(key, wait=True)
    with lock:
        yield


def _make(job: Job, found: Census, console: Console | None, connect: Callable[[], object]) -> int:
    job.storage.sweep(pool_key(job.digest))
    write_listing(job.storage, found)
    there = [set(job.storage.list(f"{pool_key(job.digest)}/{table}")) for table in job.tables]
    missing = [
        chunk
        for chunk in range(found.chunks)
        if any(job.key(table, chunk) not in keys for table, keys in zip(job.tables, there, strict=True))
    ]
    del there
    if missing:
        connect()
        _spread(job, np.array(missing, np.int32), console)
    if not job.storage.exists(f"{pool_key(job.digest)}/{SUCCESS}"):
        finish(job, found)
    for table in job.tables[1:]:
        settings = {"segments": job.segments, "compactness": job.compactness, "versions": made_with()}
        job.storage.write_bytes(f"{pool_key(job.digest)}/{table}/{SUCCESS}", encode(settings))
    return len(missing)


def _spread(job: Job, chunks: np.ndarray, console: Console | None) -> None:
    """Work on chunks in Ray tasks; the first error that the user can mend ends it."""
    import ray.data

    def work(batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        # As many tasks as CPUs: more threads would only disturb each other. Ray has set OMP_NUM_THREADS already.
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        rows = []
        for position in batch["id"]:
            rows.append(attempt_chunk(job, int(chunks[position])))
            if rows[-1]["error"]:
                break
        return {name: [row[name] for row in rows] for name in rows[0]}

    items = [{"id": position} for position in range(len(chunks))]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(chunks), MAX_BLOCKS)).map_batches(
        work, batch_size=1, compute=ray.data.TaskPoolStrategy(), num_cpus=1, runtime_env=worker_env()
    )
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    stage = console.stage("prepare", total=len(chunks)) if console is not None else nullcontext()
    with stage as progress:
        for row in dataset.iter_rows():
            if row["error"]:
                # Leaving the loop lets go of the iterator, which ends the tasks.
                raise RAISED[row["kind"]](row["error"])
            if progress is not None:
                progress.advance(1)
