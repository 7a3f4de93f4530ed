"""The train stage: one model per round on Ray Train, from the labels given so far.

The loop itself is :func:`weakseg.training.loop.fit`, which knows nothing of Ray. This module gives it a worker
group, the pool, the labels through the object store, and a checkpoint after every epoch; a worker that dies goes
on from the last of them, and so does the same command after the driver died.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from safetensors.torch import save as save_weights

from pipelines import signals, supervise
from pipelines.bring import Bring
from pipelines.config import Config
from pipelines.config.terms import loss_weights, needs_segments
from pipelines.console import Console
from pipelines.credentials import worker_env
from pipelines.ledger import Ledger
from pipelines.pool import Pool
from pipelines.resources import use_gpu
from pipelines.train_worker import CHECKPOINT, HISTORY, work
from weakseg.errors import WeaksegError
from weakseg.models import build_model
from weakseg.supervision import PointIndex
from weakseg.training import local_batch_size
from weakseg.training import state as training_state
from weakseg.transforms import Augmentation

MAX_FAILURES = 3


def run(
    config: Config,
    ledger: Ledger,
    round: int,
    *,
    console: Console,
    on_epochs: Callable[[list[dict[str, Any]]], None] = lambda epochs: None,
) -> list[dict[str, Any]]:
    """Train the round's model, or find it trained.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Which round's labels (and all before) to train on.
        console: Where progress goes.
        on_epochs: Called with the metrics of all epochs so far, whenever one more is finished.

    Returns:
        One dict of metrics per epoch.

    Raises:
        WeaksegError: What the workers found wrong with labels, weights or settings, in their own words.
    """
    model_key, history_key = f"{ledger.round(round)}/model.safetensors", f"{ledger.round(round)}/train/{HISTORY}"
    if ledger.exists(model_key) and ledger.exists(history_key):
        return ledger.read_json(history_key)
    settings = _settings(config, ledger, round)
    name = f"fit-{settings['digest']}"
    folder = ledger.address(f"{ledger.round(round)}/train")
    with _watched(console, Path(folder) / name, round, settings["epochs"], on_epochs):
        result = _fit(config, settings, name=name, storage_path=folder)
    checkpoint = Path(result.checkpoint.path)
    history = json.loads((checkpoint / HISTORY).read_text())
    ledger.write_json(f"{ledger.round(round)}/model.json", history["spec"])
    weights = training_state.trained_weights(training_state.load(checkpoint / CHECKPOINT))
    ledger.write_bytes(model_key, save_weights({k: v.contiguous().cpu() for k, v in weights.items()}))
    ledger.write_json(history_key, history["epochs"])
    shutil.rmtree(Path(folder) / name, ignore_errors=True)
    return history["epochs"]


def check(config: Config, classes: int) -> None:
    """Refuse a model or a batch that no worker could train, before anything is labelled.

    Args:
        config: The run's configuration.
        classes: How many classes the pool has.

    Raises:
        WeaksegError: What does not go together, or which keys of the weights file do not fit.
    """
    try:
        local_batch_size(config.training.batch_size, config.cluster.workers)
        build_model(**_model(config, classes))
    except ValueError as error:
        raise WeaksegError(str(error)) from error
    if config.model.classes == 1 and classes != 2:
        raise WeaksegError(f"model.classes: 1 is for data of two classes, background and foreground, got {classes}")
    weights = config.loss.class_weights
    if isinstance(weights, list) and len(weights) != classes:
        raise WeaksegError(f"loss.class_weights: expected {classes} numbers, one per class, got {len(weights)}")


def _model(config: Config, classes: int) -> dict[str, Any]:
    """The arguments of `build_model`."""
    return {**config.model.model_dump(), "classes": config.model.classes or classes}


def _settings(config: Config, ledger: Ledger, round: int) -> dict[str, Any]:
    """Everything a worker needs, as plain values and one reference to the labels."""
    training, pool = config.training, ledger.pool
    labels = ledger.labels(round) if config.supervision.points else None
    points = None if labels is None else PointIndex(pool.index("train").image_ids, labels)
    bring = supervise.bring(config, ledger, labels)
    stopping = training.early_stopping
    warm = training.warm_start and round > 0
    return {
        "pool": pool,
        "segments": bool(needs_segments(config)),
        "digest": ledger.config_digest,
        "points": ray.put(points),
        "bring": ray.put(bring),
        "validation": None if stopping is None else ray.put(supervise.bring_validation(config, ledger)),
        "patience": None if stopping is None else stopping.patience,
        "model": _model(config, len(pool.classes)),
        "warm_start": ledger.read_bytes(f"{ledger.round(round - 1)}/model.safetensors") if warm else None,
        "loss_weights": loss_weights(config),
        "class_weights": _class_weights(config, pool, points, bring),
        "augmentation": augmentation(config, pool),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": {
            "name": training.optimizer,
            "lr": training.lr,
            "encoder_lr": training.encoder_lr,
            "weight_decay": training.weight_decay,
            "eps": training.eps,
            "momentum": training.momentum,
        },
        "schedule": training.schedule.model_dump(),
        "precision": training.precision,
        "seed": config.seed,
        "round": round,
        "threads": max(1, int(config.cluster.cpus_per_worker)),
        "loader_workers": config.cluster.loader_workers,
    }


def augmentation(config: Config, pool: Pool) -> Augmentation | None:
    """The configured augmentation; without a crop of its own it crops to the pool's size."""
    if config.training.augmentation is None:
        return None
    fields = config.training.augmentation.model_dump()
    return Augmentation(**{**fields, "crop": fields["crop"] or pool.size})


def _class_weights(config: Config, pool: Pool, points: PointIndex | None, bring: Bring) -> list[float] | None:
    """The configured weights; `balanced` = inverse frequency of the labels at hand, mean 1 over classes that occur."""
    if config.loss.class_weights != "balanced":
        return list(config.loss.class_weights) if config.loss.class_weights else None
    counts = np.zeros(len(pool.classes), np.int64)
    if points is not None:
        counts += points.histogram(len(counts))
    for mask_HW in bring.dense(pool.index("train").image_ids):
        counts += np.bincount(mask_HW[mask_HW < len(counts)], minlength=len(counts))
    inverse = np.where(counts > 0, counts.sum() / np.maximum(counts, 1), 0.0)
    mean = inverse[counts > 0].mean() if (counts > 0).any() else 1.0
    return [float(value) if value > 0 else 1.0 for value in inverse / mean]


def _fit(config: Config, settings: Mapping[str, Any], *, name: str, storage_path: str) -> ray.train.Result:
    _move_unreadable_aside(Path(storage_path) / name)
    gpu = use_gpu(config)
    trainer = TorchTrainer(
        work,
        train_loop_config=dict(settings),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.cluster.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": config.cluster.cpus_per_worker} | ({"GPU": 1} if gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=storage_path,
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            worker_runtime_env=worker_env(),
        ),
    )
    result = signals.beside(trainer.fit)
    if result.return_value and "error" in result.return_value:
        raise WeaksegError(result.return_value["error"])
    return result


def _move_unreadable_aside(folder: Path) -> None:
    """Ray writes its snapshot in place: one that a crash cut short would fail every later start of the same name."""
    snapshot = folder / "checkpoint_manager_snapshot.json"
    if not snapshot.exists():
        return
    try:
        names = [entry["checkpoint_dir_name"] for entry in json.loads(snapshot.read_text())["checkpoint_results"]]
        readable = all((folder / name / CHECKPOINT).exists() for name in names)
    except (ValueError, KeyError, TypeError):
        readable = False
    if not readable:
        shutil.rmtree(folder.with_name(f"{folder.name}.unreadable"), ignore_errors=True)
        folder.rename(folder.with_name(f"{folder.name}.unreadable"))


@contextmanager
def _watched(
    console: Console, folder: Path, round: int, epochs: int, on_epochs: Callable[[list[dict[str, Any]]], None]
) -> Iterator[None]:
    """Show finished epochs while `fit` blocks: they are read off the checkpoints in the storage."""
    finished = threading.Event()

    def watch() -> None:
        done = 0
        while not finished.wait(1.0):
            rows = _finished_epochs(folder)
            if len(rows) > done:
                stage.advance(len(rows) - done)
                on_epochs(rows)
                done = len(rows)

    with console.stage(f"round {round}: train", total=epochs) as stage:
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()


def _finished_epochs(folder: Path) -> list[dict[str, Any]]:
    """The metrics of all epochs up to the newest checkpoint that is there as a whole."""
    for checkpoint in sorted(folder.glob("epoch-*"), reverse=True):
        try:
            return json.loads((checkpoint / HISTORY).read_text())["epochs"]
        except (FileNotFoundError, ValueError):
            continue
    return []
