"""`prepare` beside a `multiprocessing.Pool` of as many processes that decodes, runs SLIC and encodes the same files."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.engine import ours
from benchmarks.engine.data import images_folder, source
from benchmarks.engine.harness import Side, compare, summary
from weakseg.codec import decode_image, encode_mask, encode_segments, read_mask
from weakseg.superpixels import slic

AIM = 0.95
SEGMENTS = 500
PROCESSES = 2


def run(*, pairs: int, sizes: tuple[int, int] = (32, 128), progress: Callable[[str], None]) -> dict[str, Any]:
    """Compare.

    Args:
        pairs: How often each side runs at both sizes.
        sizes: Images in the small and in the large run.
        progress: Called with one line after every pair.

    Returns:
        The summary, with the aim and what was compared.
    """
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        for size in sizes:
            images_folder(Path(folder) / f"images-{size}", size)
        sides = {
            name: Side(f"{__name__}:{name}", {"folder": folder}) for name in ("multiprocessing_pool", "weakseg_prepare")
        }
        costs = compare(sides, sizes=sizes, pairs=pairs, progress=progress)
    for size, results in ((size, _results(costs, size)) for size in sizes):
        assert len(results) == 1, f"the sides made other segments of the same {size} images: {results}"
    return {
        "aim": AIM,
        "unit": "image",
        "images": source(),
        "segments": SEGMENTS,
        "processes": PROCESSES,
        **summary(costs, baseline="multiprocessing_pool", ours="weakseg_prepare"),
    }


@contextmanager
def multiprocessing_pool(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """The baseline: one task per image, results in files."""
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool, ours.scratch(folder, "pool") as out:

        def work(size: int) -> dict[str, int]:
            root = Path(folder) / f"images-{size}"
            images = [path for split in ("train", "val", "test") for path in sorted((root / split).iterdir())]
            tasks = [(str(image), str(_mask(image)), str(out)) for image in images]
            counts = pool.starmap(_one_image, tasks, chunksize=1)
            return {"images": len(counts), "segments": sum(counts)}

        yield work


@contextmanager
def weakseg_prepare(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """Ours: the stage, over a Ray of as many logical CPUs."""
    with ours.ray_started(PROCESSES):
        from pipelines import prepare
        from pipelines.pool import Pool
        from pipelines.storage import open_storage

        def work(size: int) -> dict[str, int]:
            with ours.scratch(folder, "storage") as root:
                settings = {"data.size": "null", "training.augmentation": "null", "superpixels.segments": SEGMENTS}
                config = ours.config(root, Path(folder) / f"images-{size}", settings)
                storage = open_storage(config.storage.root)
                prepared = prepare.run(config, storage, console=ours.console())
                pool = Pool(storage, prepared.digest, segments=SEGMENTS)
                parts = sorted(Path(root, "pools", prepared.digest, pool.superpixels).glob("*.parquet"))
                return {"images": sum(prepared.images.values()), "segments": sum(map(_count, parts))}

        yield work


def _one_image(image: str, mask: str, out: str) -> int:
    segments_HW = slic(decode_image(Path(image).read_bytes()), segments=SEGMENTS)
    name = Path(image).stem
    Path(out, f"{name}.png").write_bytes(Path(image).read_bytes())
    Path(out, f"{name}-mask.png").write_bytes(encode_mask(read_mask(Path(mask).read_bytes())))
    Path(out, f"{name}-segments.png").write_bytes(encode_segments(segments_HW))
    return int(segments_HW.max()) + 1


def _mask(image: Path) -> Path:
    return image.parents[1] / f"{image.parent.name}annot" / f"{image.stem}.png"


def _count(part: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_table(part, columns=["count"])["count"].to_pylist())


def _results(costs: dict[str, list[Any]], size: int) -> set[str]:
    return {str(cost.result) for side in costs.values() for cost in side if cost.size == size}
