"""The train stage: one model per round on Ray Train, from the labels given so far.

The loop itself is :func:`weakseg.training.loop.fit`, which knows nothing of Ray. This module gives it a worker
group, the pool, the labels through the object store, and a checkpoint after every epoch, and at a step where a machine
is about to be taken away. Workers that die go on from the newest of them, with as many as there is room for, and so
does the same command after the driver died.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from safetensors.torch import save as save_weights

from pipelines import signals, supervise
from pipelines.bring import Bring
from pipelines.checkpoints import HISTORY, finished_epochs, forget_unreadable, load_state, newest
from pipelines.config import Config
from pipelines.config.terms import loss_weights, needs_segments
from pipelines.console import Console
from pipelines.credentials import hidden, worker_env
from pipelines.ledger import Ledger
from pipelines.plain import plain
from pipelines.pool import Pool
from pipelines.resources import use_gpu
from pipelines.storage import Storage
from pipelines.train_worker import work
from weakseg.errors import ResourceError, WeaksegError
from weakseg.models import build_model
from weakseg.supervision import PointIndex
from weakseg.training import local_batch_size
from weakseg.training import state as training_state
from weakseg.transforms import Augmentation

MAX_FAILURES = 3
"""Deaths of workers without a notice before one more epoch is finished; those of machines that give notice are free."""

RESIZE_SECONDS = 60.0
"""How often elastic workers look whether there is room for more of them."""


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
        One dict of metrics per epoch; None for a loss that was no finite number.

    Raises:
        WeaksegError: What the workers found wrong with labels, weights or settings, in their own words.
    """
    model_key, history_key = f"{ledger.round(round)}/model.safetensors", f"{ledger.round(round)}/train/{HISTORY}"
    storage, folder = ledger.storage, ledger.key(f"{ledger.round(round)}/train/fit-{ledger.config_digest}")
    if ledger.exists(model_key) and ledger.exists(history_key):
        storage.delete_tree(folder)  # whoever wrote the history may have died before this
        return ledger.read_json(history_key)
    settings = _settings(config, ledger, round)
    with _watched(console, storage, folder, round, settings["epochs"], on_epochs):
        _fit(config, settings, storage, folder)
    last = f"{folder}/{newest(storage, folder)}"
    state, spec = load_state(storage, last), json.loads(storage.read_bytes(f"{last}/{HISTORY}"))["spec"]
    ledger.write_json(f"{ledger.round(round)}/model.json", spec)
    weights = training_state.trained_weights(state)
    ledger.write_bytes(model_key, save_weights({k: v.contiguous().cpu() for k, v in weights.items()}))
    history: list[dict[str, Any]] = plain(state["history"])
    ledger.write_json(history_key, history)
    storage.delete_tree(folder)
    return history


def check(config: Config, classes: int) -> None:
    """Refuse a model or a batch that no worker could train, before anything is labelled.

    Args:
        config: The run's configuration.
        classes: How many classes the pool has.

    Raises:
        WeaksegError: What does not go together, or which keys of the weights file do not fit.
    """
    try:
        local_batch_size(config.training.batch_size, config.cluster.most_workers)
    except ValueError as error:
        raise WeaksegError(f"training.batch_size: {error}") from error
    try:
        build_model(**_model(config, classes))
    except (ValueError, WeaksegError) as error:
        about = "model" if isinstance(error, ValueError) else "model.weights"
        raise WeaksegError(f"{about}: {error}") from error
    if config.model.classes == 1 and classes != 2:
        raise WeaksegError(f"model.classes: 1 is for data of two classes, background and foreground, got {classes}")
    weights = config.loss.class_weights
    if isinstance(weights, list) and len(weights) != classes:
        raise WeaksegError(f"loss.class_weights: expected {classes} numbers, one per class, got {len(weights)}")


def _model(config: Config, classes: int) -> dict[str, Any]:
    """The arguments of `build_model`."""
    return {**config.model.model_dump(), "classes": config.model.classes or classes}


def _initial(config: Config, classes: int) -> tuple[dict[str, Any], ray.ObjectRef | None]:
    """How workers build the model, and the encoder's first weights, None = random.

    The driver alone reads or downloads them: a worker that could not would leave the others waiting for it.
    """
    if config.model.weights is None:
        return _model(config, classes), None
    model = build_model(**_model(config, classes))
    return model.spec, ray.put(model.encoder.state_dict())


def _settings(config: Config, ledger: Ledger, round: int) -> dict[str, Any]:
    """Everything a worker needs, as plain values and one reference to the labels."""
    training, pool = config.training, ledger.pool
    spec, encoder = _initial(config, len(pool.classes))
    labels = ledger.labels(round) if config.supervision.points else None
    points = None if labels is None else PointIndex(pool.index("train").image_ids, labels)
    bring = supervise.bring(config, ledger, labels)
    stopping = training.early_stopping
    warm = training.warm_start and round > 0
    return {
        "pool": pool,
        "segments": bool(needs_segments(config)),
        "points": ray.put(points),
        "bring": ray.put(bring),
        "validation": None if stopping is None else ray.put(supervise.bring_validation(config, ledger)),
        "patience": None if stopping is None else stopping.patience,
        "model": spec,
        "encoder": encoder,
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
    """The configured weights; `balanced` = inverse frequency of the labels at hand, mean 1 over classes that occur.

    An answer counts once, be it about a pixel or a region; of masks and coarse labels each pixel does.
    """
    if config.loss.class_weights != "balanced":
        return list(config.loss.class_weights) if config.loss.class_weights else None
    counts = np.zeros(len(pool.classes), np.int64)
    if points is not None:
        counts += points.histogram(len(counts))
    if bring.regions is not None:
        counts += bring.regions.histogram(len(counts))
    for mask_HW in bring.dense(pool.index("train").image_ids):
        counts += np.bincount(mask_HW[mask_HW < len(counts)], minlength=len(counts))
    inverse = np.where(counts > 0, counts.sum() / np.maximum(counts, 1), 0.0)
    mean = inverse[counts > 0].mean() if (counts > 0).any() else 1.0
    return [float(value) if value > 0 else 1.0 for value in inverse / mean]


def _fit(config: Config, settings: Mapping[str, Any], storage: Storage, folder: str) -> None:
    """Train to the end: the newest checkpoint is then the last."""
    while True:
        forget_unreadable(storage, folder)
        before = newest(storage, folder)
        try:
            trainer = _trainer(config, {**settings, "storage": storage, "folder": folder}, storage, folder)
            result = signals.beside(trainer.fit)
        except ray.train.WorkerGroupError:
            # machines may be lost any number of times, as long as the training comes on between them
            if newest(storage, folder) == before:
                raise
            continue
        if result.return_value and "error" in result.return_value:
            raise result.return_value["error"]
        return


def _trainer(config: Config, settings: dict[str, Any], storage: Storage, folder: str) -> TorchTrainer:
    gpu, place = use_gpu(config), PurePosixPath(folder)
    return TorchTrainer(
        work,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.cluster.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": config.cluster.cpus_per_worker} | ({"GPU": 1} if gpu else {}),
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        run_config=ray.train.RunConfig(
            name=place.name,
            storage_path=f"{storage.path}/{place.parent}",
            storage_filesystem=storage.fs,
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES, max_preemption_failures=-1),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            worker_runtime_env=worker_env(),
        ),
    )


@contextmanager
def _watched(
    console: Console,
    storage: Storage,
    folder: str,
    round: int,
    epochs: int,
    on_epochs: Callable[[list[dict[str, Any]]], None],
) -> Iterator[None]:
    """Show finished epochs while `fit` blocks: they are read off the checkpoints in the storage."""
    finished = threading.Event()
    done, told, complained, left = 0, 0, False, False

    def look() -> None:
        nonlocal done, told, complained
        try:
            rows = finished_epochs(storage, folder)
        except (OSError, ResourceError):
            return  # it is only for show; the training itself says what is wrong with the storage
        if left:
            return
        if len(rows) > done:
            stage.advance(len(rows) - done)
            done = len(rows)
        if len(rows) > told:
            try:
                on_epochs(rows)
                told = len(rows)
            except Exception as error:  # told again in a moment, and at the end, where it counts
                if not complained:
                    reason = hidden(str(error)).strip().partition("\n")[0]
                    console.line(f"round {round}: epochs could not be logged, trying again ({reason})")
                complained = True

    def watch() -> None:
        while not finished.wait(1.0 if storage.is_local else 5.0):
            look()

    with console.stage(f"round {round}: train", total=epochs) as stage:
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            # Who is stopped has 3 s to give the run back: a slow server must not use them up.
            left = True
            finished.set()
            raise
        finished.set()
        thread.join()
        look()
