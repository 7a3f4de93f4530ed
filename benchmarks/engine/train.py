"""`train` beside a plain PyTorch loop with a DataLoader: the same model, batches, augmentation, labels and checkpoints.

The size is the number of epochs, so that what it costs to start a worker group falls into the intercept.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.engine import loss, ours, pools
from benchmarks.engine.data import source
from benchmarks.engine.harness import Side, compare, summary
from weakseg import seeding
from weakseg.codec import decode_image
from weakseg.datasets import Example
from weakseg.losses import point_cross_entropy
from weakseg.models import build_model
from weakseg.transforms import Augmentation, Sample, augment

AIM = 0.97
IMAGES = 64
BATCH = 4
SETTINGS = {"training.batch_size": BATCH, "labelling.pixels_per_image": 10}


def run(
    *, pairs: int, sizes: tuple[int, int] = (1, 6), images: int = IMAGES, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Compare the training, then the two ways to the loss.

    Args:
        pairs: How often each side runs at both sizes.
        sizes: Epochs in the small and in the large run.
        images: Training images, a multiple of the batch.
        progress: Called with one line after every pair.

    Returns:
        The summary, `losses` (see :mod:`benchmarks.engine.loss`), and what was compared.
    """
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        pools.make(folder, [images], SETTINGS)
        options = {"folder": folder, "images": images}
        sides = {name: Side(f"{__name__}:{name}", options) for name in ("weakseg_train", "plain_loop")}
        costs = compare(sides, sizes=sizes, pairs=pairs, progress=progress)
    for side, found in costs.items():
        assert all(cost.result["epochs"] == cost.size for cost in found[1:]), f"{side} did not do all epochs"
    return {
        "aim": AIM,
        "unit": "epoch",
        "images": f"{images} of {source()}, 144x192",
        "model": "fcn8 on squeezenet1_0",
        "batch_size": BATCH,
        "workers": 1,
        "last_loss": {name: found[-1].result["loss"] for name, found in costs.items()},
        **summary(costs, baseline="plain_loop", ours="weakseg_train"),
        "losses": loss.run(pairs=pairs, progress=progress),
    }


@contextmanager
def weakseg_train(folder: str, images: int) -> Iterator[Callable[[int], dict[str, Any]]]:
    """Ours: the stage with one Ray Train worker. It also writes the labels that the other side reads."""
    with ours.ray_started():
        from pipelines import train

        def config(epochs: int) -> Any:
            return pools.configured(folder, images, {**SETTINGS, "training.epochs": epochs})

        # The epochs are of the identity: one run holds the labels, the others only train on them.
        with pools.opened(config(1)) as ledger:
            files = [
                Path(ledger.address(f"{ledger.round(0)}/{name}"))
                for name in ("model.safetensors", "train/history.json")
            ]

            def work(size: int) -> dict[str, Any]:
                for file in files:
                    file.unlink(missing_ok=True)
                history = train.run(config(size), ledger, 0, console=ours.console())
                return {"epochs": len(history), "loss": history[-1]["loss"]}

            yield work


@contextmanager
def plain_loop(folder: str, images: int) -> Iterator[Callable[[int], dict[str, Any]]]:
    """The baseline: a loop as one writes it without an engine."""
    torch.set_num_threads(1)
    config = pools.configured(folder, images, SETTINGS)
    training, shape = config.training, config.data.size
    assert shape
    assert training.augmentation
    augmentation = Augmentation(**{**training.augmentation.model_dump(), "crop": shape})
    dataset = _Labelled(folder, augmentation)

    def work(size: int) -> dict[str, Any]:
        model = pools.model_of(config, 11, build_model).train()
        inside = {id(parameter) for parameter in model.encoder.parameters()}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(
            [
                {"params": [parameter for parameter in trained if id(parameter) not in inside]},
                {"params": [parameter for parameter in trained if id(parameter) in inside], "lr": training.encoder_lr},
            ],
            lr=training.lr,
            weight_decay=training.weight_decay,
            fused=True,
        )
        loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True, collate_fn=_collate)
        total = size * len(loader)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total) ** 0.9)
        losses: list[float] = []
        with ours.scratch(folder, "checkpoints") as checkpoints:
            for epoch in range(size):
                dataset.epoch, losses = epoch, []
                for image_B3HW, points_N3, labels_N in loader:
                    optimizer.zero_grad()
                    output = model(image_B3HW)
                    value = point_cross_entropy(output.logits_BChw, points_N3, labels_N, size=output.padded_size)
                    value.backward()
                    optimizer.step()
                    scheduler.step()
                    losses.append(value.item())
                state = {
                    "epoch": epoch,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "scheduler": scheduler.state_dict(),
                    "rng": torch.get_rng_state(),
                }
                torch.save(state, checkpoints / f"{epoch:04d}.pt")
        return {"epochs": size, "loss": float(np.mean(losses))}

    yield work


class _Labelled(Dataset[Sample]):
    """Encoded images and their labelled pixels, in memory."""

    def __init__(self, folder: str, augmentation: Augmentation) -> None:
        (pool,) = (path for path in Path(folder, "storage", "pools").iterdir() if path.is_dir())
        rows = [row for path in sorted((pool / "images").iterdir()) for row in pq.read_table(path).to_pylist()]
        (labels,) = Path(folder, "storage", "runs").glob("*/rounds/000/labels.parquet")
        points: dict[str, list[tuple[int, int, int]]] = {}
        for row in pq.read_table(labels).to_pylist():
            if row["class_id"] != 255:
                points.setdefault(row["image_id"], []).append((row["y"], row["x"], row["class_id"]))
        self._images = [(row["image_id"], row["image"]) for row in rows if row["split"] == "train"]
        self._points = {name: np.array(found) for name, found in points.items()}
        self._augmentation = augmentation
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image_id, data = self._images[index]
        points_N3 = self._points.get(image_id, np.empty((0, 3), np.int64))
        example = Example(image_id, decode_image(data), points_N3[:, :2].astype(np.float32), points_N3[:, 2])
        return augment(
            example,
            self._augmentation,
            rng=seeding.torch_generator(0, "augment", round=self.epoch, image_id=image_id),
        )


def _collate(samples: list[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    points = [
        torch.cat([torch.full((len(sample.points_N2), 1), float(b)), sample.points_N2], 1)
        for b, sample in enumerate(samples)
    ]
    labels = [sample.labels_N for sample in samples]
    return torch.stack([sample.image_3HW for sample in samples]), torch.cat(points), torch.cat(labels)
