"""`weakseg predict` beside the bare model: both list, decode, predict and write a palette PNG for every image."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.engine import ours
from benchmarks.engine.data import images_folder, source
from benchmarks.engine.harness import Side, compare, summary
from weakseg.codec import decode_image
from weakseg.datasets import Classes
from weakseg.models import build_model

AIM = 0.90
CLASSES = 11


def run(*, pairs: int, sizes: tuple[int, int] = (8, 48), progress: Callable[[str], None]) -> dict[str, Any]:
    """Compare.

    Args:
        pairs: How often each side runs at both sizes.
        sizes: Images in the small and in the large run.
        progress: Called with one line after every pair.

    Returns:
        The summary against the bare model, and what was compared.
    """
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        for size in sizes:
            images_folder(Path(folder) / f"images-{size}", size)
        sides = {
            "bare_model": Side(f"{__name__}:bare_model", {"folder": folder}),
            "weakseg_predict": Side(f"{__name__}:weakseg_predict", {"folder": folder}),
        }
        costs = compare(sides, sizes=sizes, pairs=pairs, progress=progress)
    for side, found in costs.items():
        assert all(cost.result["images"] == cost.size for cost in found[1:]), f"{side} did not do all images"
    return {
        "aim": AIM,
        "unit": "image",
        "images": source(),
        "model": "deeplabv3plus on mobilenet_v2, images as they are",
        "device": "cpu",
        **summary(costs, baseline="bare_model", ours="weakseg_predict"),
    }


@contextmanager
def bare_model(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """The baseline: a loop over the files, one at a time."""
    torch.set_num_threads(1)
    model = network()
    palette = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes()

    def work(size: int) -> dict[str, int]:
        done = 0
        with ours.scratch(folder, "bare") as output, torch.inference_mode():
            for path in sorted((Path(folder) / f"images-{size}" / "train").iterdir()):
                image_HW3 = decode_image(path.read_bytes())
                image_13HW = torch.from_numpy(image_HW3).permute(2, 0, 1)[None].float() / 255
                answer = model(image_13HW)
                logits = F.interpolate(answer.logits_BChw, answer.padded_size, mode="bilinear", align_corners=False)
                height, width = image_HW3.shape[:2]
                mask = Image.fromarray(logits[0, :, :height, :width].argmax(0).to(torch.uint8).numpy())
                mask.putpalette(palette)
                mask.save(output / f"{path.stem}.png", compress_level=2)
                done += 1
        return {"images": done}

    yield work


@contextmanager
def weakseg_predict(folder: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """Ours: the verb without its look into the registry, with one actor."""
    with ours.ray_started():
        from safetensors.torch import save

        from pipelines import predict
        from pipelines.serving.registered import Registered
        from weakseg.prediction import View

        model = network()
        weights = save({name: value.contiguous() for name, value in model.state_dict().items()})
        colors = np.random.default_rng(0).integers(0, 256, (CLASSES, 3))
        classes = Classes(tuple(f"class {i}" for i in range(CLASSES)), tuple(tuple(map(int, rgb)) for rgb in colors))
        registered = Registered("bench", 1, model.spec, weights, classes, View(), threads=1)
        predict.fetch = lambda *_: registered
        predict.store_of = lambda *_: "sqlite:///:memory:"
        predict.tracking_server.check = lambda *_: None

        def work(size: int) -> dict[str, int]:
            output = Path(folder) / "ours"
            shutil.rmtree(output, ignore_errors=True)
            images = Path(folder) / f"images-{size}" / "train"
            found = predict.predict(
                "models:/bench/1", str(images), str(output), None, ours.console(), gpu=False, actors=1
            )
            return {"images": found["predicted"]}

        yield work


def network() -> torch.nn.Module:
    """The model of both sides, untrained."""
    torch.manual_seed(0)
    return build_model("deeplabv3plus", encoder="mobilenet_v2", classes=CLASSES).eval()
