"""Whether a stored model gives the pipeline's own masks."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import ray
import torch

from pipelines.config import Config
from pipelines.credentials import worker_env
from pipelines.ledger import Ledger
from pipelines.pool import PartReader, Pool
from pipelines.resources import use_gpu
from pipelines.rounds import ready_model
from weakseg.codec import decode_image, read_mask
from weakseg.inference import predict

IMAGES = 4
AGREEMENT = 0.999
"""Share of equal pixels asked of two devices; on one device every pixel must be equal."""


def sample(pool: Pool) -> dict[str, bytes]:
    """Some encoded validation images, spread over the split; training images where there is no validation."""
    index = pool.index("val" if len(pool.index("val")) else "train")
    read = PartReader(pool, "images", "image", cache_bytes=0)
    chosen = np.unique(np.linspace(0, len(index) - 1, IMAGES).round().astype(int))
    return {index.image_ids[i].as_py(): read(int(index.part[i]), int(index.row[i])) for i in chosen}


def check(config: Config, ledger: Ledger, round: int, stored: str, images: Mapping[str, bytes]) -> None:
    """Load a stored model and compare its masks with the pipeline's own.

    Args:
        config: The run's configuration.
        ledger: The run.
        round: Whose model it is.
        stored: Its address, in the default store if it begins with models:/.
        images: Encoded, of the pool's size, by name: as :func:`sample` gives them.

    Raises:
        RuntimeError: They differ; the text says where and by how much.
    """
    spec = ledger.read_json(f"{ledger.round(round)}/model.json")
    weights = ledger.read_bytes(f"{ledger.round(round)}/model.safetensors")
    arguments = (spec, weights, list(images.values()), threads(config))
    # The driver predicts on its CPU: all GPUs, those of its machine too, are Ray's to give.
    elsewhere = use_gpu(config)
    if elsewhere:
        remote = ray.remote(num_gpus=1, num_cpus=config.cluster.cpus_per_worker)(gpu_masks)
        expected = ray.get(remote.options(runtime_env=worker_env()).remote(*arguments))
    else:
        expected = masks(*arguments)
    with _own_path(), tempfile.TemporaryDirectory() as folder:
        loaded = mlflow.pyfunc.load_model(stored, dst_path=folder, model_config={"device": "cpu"})
        given = [read_mask(mask) for mask in loaded.predict(pd.DataFrame({"image": list(images.values())}))["mask"]]
    for image_id, given_HW, expected_HW in zip(images, given, expected, strict=True):
        equal = float((given_HW == expected_HW).mean()) if given_HW.shape == expected_HW.shape else 0.0
        if equal < (AGREEMENT if elsewhere else 1.0):
            wanted = f"at least {AGREEMENT:.1%}" if elsewhere else "all"
            raise RuntimeError(
                f"the stored model of round {round} does not predict as the pipeline does: {equal:.4%} of the pixels "
                f"of {image_id} are equal, expected {wanted}; it is not registered"
            )


def masks(
    spec: Mapping[str, Any], weights: bytes, images: Sequence[bytes], threads: int, *, device: str = "cpu"
) -> list[np.ndarray]:
    """Predict as the actors that score and evaluate do.

    Args:
        spec: The model's `spec`.
        weights: Its safetensors file.
        images: Encoded, of the pool's size.
        threads: Of torch on a CPU.
        device: Where to predict.

    Returns:
        The mask (H, W) of every image.
    """
    model = ready_model(spec, weights, device=device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return list(predict(model, map(decode_image, images)))
    finally:
        torch.set_num_threads(before)


def gpu_masks(*arguments: Any) -> list[np.ndarray]:
    """:func:`masks` on a GPU in full float32: left to itself it rounds convolutions to TF32, which no CPU does."""
    tf32, precision = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        return masks(*arguments, device="cuda")
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(precision)


def threads(config: Config) -> int:
    """Torch's threads in the actors that score and evaluate: another number may give other bits."""
    return max(1, int(config.cluster.cpus_per_worker))


@contextmanager
def _own_path() -> Iterator[None]:
    """MLflow puts a loaded model's code first on the import path; the driver goes on with its own."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
