"""`score` beside a bare forward pass, and beside the published scheme of PixelPick. All sides decode their images."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.engine import ours, pools
from benchmarks.engine.data import source
from benchmarks.engine.harness import Side, compare, summary
from weakseg.codec import decode_image
from weakseg.models import build_model

AIM = 0.90
PIXELS = 10
TOP_FRACTION = 0.05
SETTINGS = {
    "data.size": "[368,480]",
    "training.augmentation": "null",
    "model.architecture": "deeplabv3plus",
    "model.encoder": "mobilenet_v2",
    "labelling.acquisition": "margin",
    "labelling.pixels_per_image": PIXELS,
    "labelling.top_fraction": TOP_FRACTION,
}


def run(*, pairs: int, sizes: tuple[int, int] = (8, 48), progress: Callable[[str], None]) -> dict[str, Any]:
    """Compare.

    Args:
        pairs: How often each side runs at both sizes.
        sizes: Images in the small and in the large run.
        progress: Called with one line after every pair.

    Returns:
        The summary against the bare forward pass, `published` against PixelPick's scheme, and what was compared.
    """
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        pools.make(folder, sizes, SETTINGS)
        sides = {
            "forward": Side(f"{__name__}:forward", {"folder": folder}),
            "published_scheme": Side(f"{__name__}:published_scheme", {"folder": folder}),
            "weakseg_score": Side(f"{__name__}:weakseg_score", {"folder": folder, "sizes": list(sizes)}),
        }
        costs = compare(sides, sizes=sizes, pairs=pairs, progress=progress)
    for side, found in costs.items():
        assert all(cost.result["images"] == cost.size for cost in found[1:]), f"{side} did not do all images"
    return {
        "aim": AIM,
        "unit": "image",
        "images": source(),
        "model": "deeplabv3plus on mobilenet_v2, 368x480",
        "device": "cpu",
        **summary(costs, baseline="forward", ours="weakseg_score"),
        "published": summary(costs, baseline="published_scheme", ours="weakseg_score"),
    }


@contextmanager
def forward(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """The baseline: decode, then the network alone, at its head's own resolution."""
    with _images_and_model(folder) as (images, model):

        def work(size: int) -> dict[str, int]:
            done = 0
            with torch.inference_mode():
                for image_13HW in images(size):
                    done += len(model(image_13HW).logits_BChw)
            return {"images": done}

        yield work


@contextmanager
def published_scheme(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """PixelPick as published: one image at a time, the whole softmax map, top-k over it on the CPU, a draw."""
    rng = np.random.default_rng(0)
    with _images_and_model(folder) as (images, model):

        def work(size: int) -> dict[str, int]:
            done = 0
            for image_13HW in images(size):
                with torch.no_grad():
                    logits = F.interpolate(
                        model(image_13HW).logits_BChw, image_13HW.shape[-2:], mode="bilinear", align_corners=False
                    )
                    two_12HW = F.softmax(logits, dim=1).topk(k=2, dim=1).values
                    margin_HW = (two_12HW[0, 0] - two_12HW[0, 1]).cpu()
                candidates = margin_HW.flatten().topk(int(margin_HW.numel() * TOP_FRACTION), largest=False).indices
                chosen = rng.choice(candidates.numpy(), PIXELS, replace=False)
                done += int(np.stack(np.unravel_index(chosen, margin_HW.shape), 1).shape == (PIXELS, 2))
            return {"images": done}

        yield work


@contextmanager
def weakseg_score(folder: str, sizes: list[int]) -> Iterator[Callable[[int], dict[str, int]]]:
    """Ours: the stage with one actor."""
    with ours.ray_started():
        from pipelines import score

        for size in sizes:
            with pools.opened(pools.configured(folder, size, SETTINGS)):
                pass  # what scoring reads is written once

        def work(size: int) -> dict[str, int]:
            config = pools.configured(folder, size, SETTINGS)
            with pools.opened(config) as ledger:
                Path(ledger.address(f"{ledger.round(0)}/scored.parquet")).unlink(missing_ok=True)
                chosen = score.run(config, ledger, 0, console=ours.console())
            return {"images": chosen.num_rows // PIXELS}

        yield work


@contextmanager
def _images_and_model(folder: str) -> Iterator[tuple[Callable[[int], Iterator[Tensor]], torch.nn.Module]]:
    torch.set_num_threads(1)
    model = pools.model_of(pools.configured(folder, 1, SETTINGS), 11, build_model).eval()
    parts = {path.name: path for path in Path(folder, "storage", "pools").iterdir() if path.is_dir()}

    def images(size: int) -> Iterator[Tensor]:
        for pool in parts.values():
            tables = [pq.read_table(path, columns=["split", "image"]) for path in sorted((pool / "images").iterdir())]
            encoded = [row["image"] for table in tables for row in table.to_pylist() if row["split"] == "train"]
            if len(encoded) == size:
                for data in encoded:
                    yield torch.from_numpy(decode_image(data)).permute(2, 0, 1)[None].float() / 255

    yield images, model
