"""Memory of `prepare` and `score` at ten times the images: what grows with a pool is found before the pool is large.

What counts is the largest sum of the proportional set sizes (PSS) of all processes, the daemons' too, the object store
included: every stage and size runs on a fresh Ray whose object store is fixed at 150 MiB.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import ours, pools
from benchmarks.engine.data import images_folder, source
from benchmarks.engine.harness import Cost, Session, Side

LIMIT = 1.10
SETTINGS = {
    "data.size": "[144,192]",  # SLIC takes a sixth of the time; what matters is how many images there are
    "superpixels.segments": 500,
    "labelling.acquisition": "margin",
}


def run(*, pairs: int, sizes: tuple[int, int] = (128, 1280), progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure.

    Args:
        pairs: Ignored: memory is measured once per stage and size.
        sizes: Images at first, and ten times as many.
        progress: Called with one line after every stage.

    Returns:
        Per stage the peaks in MiB by size and their ratio; `limit`, the highest allowed.
    """
    stages: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        for size in sizes:
            images_folder(Path(folder) / f"images-{size}", size)
        for stage in ("prepare", "score"):
            side = Side(f"{__name__}:{stage}", {"folder": folder})
            peaks = {size: peak(side, size, Path(folder) / f"{stage}-{size}.log").highest / 2**20 for size in sizes}
            ratio = peaks[sizes[1]] / peaks[sizes[0]]
            stages[stage] = {"peak_mib": {str(size): peak for size, peak in peaks.items()}, "ratio": ratio}
            progress(f"{stage}: {peaks[sizes[0]]:.0f} MiB, at {sizes[1]} images {peaks[sizes[1]]:.0f} MiB")
    return {"limit": LIMIT, "images": f"{source()}, 144x192", "sizes": list(sizes), **stages}


@contextmanager
def prepare(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """The stage `prepare`."""
    with pools.preparing(folder, SETTINGS) as work:
        yield work


@contextmanager
def score(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """The stage `score`, on a pool that is there."""
    with ours.ray_started():
        from pipelines import score as stage

        def work(size: int) -> dict[str, int]:
            config = pools.configured(folder, size, SETTINGS)
            with pools.opened(config) as ledger:
                return {"chosen": stage.run(config, ledger, 0, console=ours.console()).num_rows}

        yield work


@dataclass(frozen=True)
class Peak:
    """Sums of PSS over all processes of a side, in bytes.

    Attributes:
        before: When it was ready.
        highest: While it did its work.
        cost: Of the work.
    """

    before: int
    highest: int
    cost: Cost


def peak(side: Side, size: int, log: Path, *, interval: float = 0.25) -> Peak:
    """The memory that a fresh side takes to do its work once, read every so many seconds."""
    with Session(side, log, settle=0.0) as session:
        before = highest = session.tree.memory()
        ended = threading.Event()

        def watch() -> None:
            nonlocal highest
            while not ended.is_set():
                highest = max(highest, session.tree.memory())
                ended.wait(interval)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            cost = session.run(size)
        finally:
            ended.set()
            thread.join()
    return Peak(before, highest, cost)
