"""Planning of a large data set in a bucket: from the first page of the listing to the chunks of work.

The bucket is simulated: pages of 1,000 keys, as S3 gives them, made when they are asked for and without any delay. What
is measured is ours: what a process needs above its imports, and how long it takes.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.engine import ours
from benchmarks.engine.harness import Side
from benchmarks.engine.memory import peak

SECONDS = 60.0
"""Aim, for a million images."""

BASE_MIB, BYTES_PER_IMAGE = 200, 100
"""Aims: memory above the imports."""

IMAGES = 1_000_000
PAGE = 1000
CLASSES = b'classes: [{name: soil, color: "#0A141E"}, {name: roof, color: "#C80000"}]'


class Bucket:
    """A client of a bucket that holds `images/` and `masks/` of as many files, and `classes.yaml`.

    Args:
        images: How many images; the last of every hundred has no mask.
    """

    def __init__(self, images: int) -> None:
        self.images = images

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str, Delimiter: str = "", ContinuationToken: str = "0"
    ) -> dict[str, Any]:
        """A page, as S3 answers."""
        if Delimiter:
            prefixes = [{"Prefix": f"{Prefix}{name}/"} for name in ("images", "masks")]
            entry = {"Key": f"{Prefix}classes.yaml", "Size": len(CLASSES)}
            return {"Contents": [entry], "CommonPrefixes": prefixes, "IsTruncated": False}
        masks = Prefix.endswith("masks/")
        first = int(ContinuationToken)
        numbers = range(first, min(first + PAGE, self.images))
        contents = [
            {"Key": f"{Prefix}flight-{number:09d}.{'png' if masks else 'jpg'}", "Size": 100_000 + number % 1000}
            for number in numbers
            if not (masks and number % 100 == 99)
        ]
        last = numbers.stop >= self.images
        return {
            "Contents": contents,
            "IsTruncated": not last,
            **({} if last else {"NextContinuationToken": str(numbers.stop)}),
        }

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """The only object that is read."""
        assert Key.endswith("/classes.yaml")
        return {"Body": io.BytesIO(CLASSES)}


def run(
    *, pairs: int, sizes: tuple[int, int] = (IMAGES // 10, IMAGES), progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure.

    Args:
        pairs: Ignored: once per size.
        sizes: Images at first, and as the aims count them.
        progress: Called with one line after every size.

    Returns:
        Per size the seconds and the peak of memory above the imports in MiB, with the aims.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        for size in sizes:
            side = Side(f"{__name__}:planning", {"folder": folder})
            measured = peak(side, size, Path(folder) / f"plan-{size}.log", interval=0.1)
            cost, mib = measured.cost, (measured.highest - measured.before) / 2**20
            found[str(size)] = {"seconds": cost.wall, "cpu": cost.cpu, "mib": mib, **cost.result}
            progress(f"{size} images: {cost.wall:.1f} s, {mib:.0f} MiB above the imports")
    large = sizes[1]
    return {
        "aim": {"seconds": SECONDS, "mib": BASE_MIB + BYTES_PER_IMAGE * large / 2**20},
        "sizes": list(sizes),
        "page": PAGE,
        **found,
    }


@contextmanager
def planning(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """What `prepare` does before any image is read."""
    from pipelines import s3
    from pipelines.data_files import open_files
    from pipelines.sources import census, write_listing
    from pipelines.storage import open_storage
    from weakseg.datasets import open_layout

    def work(size: int) -> dict[str, int]:
        bucket = Bucket(size)
        s3.client = lambda **_: bucket
        path = "s3://simulated/data"
        layout = open_layout("folder", path, files=open_files(path))
        found = census(layout, size=None, tile=None)
        with ours.scratch(folder, "storage") as root:
            storage = open_storage(root)
            write_listing(storage, found)
        return {"sources": found.sources, "chunks": found.chunks}

    yield work
