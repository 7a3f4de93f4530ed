"""What runs in every training worker: :func:`weakseg.training.fit` between Ray Train's checkpoints."""

import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from safetensors.torch import load as load_weights

from pipelines.examples import PoolExamples
from weakseg import seeding
from weakseg.errors import WeaksegError
from weakseg.models import build_model
from weakseg.training import EpochResult, build_optimizer, build_scheduler, fit, steps_per_epoch
from weakseg.training import state as training_state

CHECKPOINT = "state.pt"
HISTORY = "history.json"


def work(settings: dict[str, Any]) -> dict[str, str] | None:
    """The training function of every rank. What is wrong with the user's input is returned: a retry cannot mend it."""
    try:
        _train(settings)
    except WeaksegError as error:
        return {"error": str(error)}
    return None


def _train(settings: dict[str, Any]) -> None:
    torch.set_num_threads(settings["threads"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    pool, segments = settings["pool"], settings["segments"]
    points, bring = ray.get([settings["points"], settings["bring"]])
    examples = PoolExamples(pool, "train", points=points, complete=bring, segments=segments)
    validation, validation_weights = None, None
    if settings["validation"] is not None:
        complete, validation_weights = ray.get(settings["validation"])
        validation = PoolExamples(pool, "val", complete=complete, segments=segments)
    seeding.seed_everything(settings["seed"], "model", round=settings["round"])
    model = build_model(**settings["model"])
    if settings["warm_start"] is not None:
        model.load_state_dict(load_weights(settings["warm_start"]))
    spec = model.spec
    model = model.to(device)
    optimizer = build_optimizer(model, **settings["optimizer"])
    steps = steps_per_epoch(len(examples), settings["batch_size"])
    scheduler = build_scheduler(optimizer, **settings["schedule"], epochs=settings["epochs"], steps_per_epoch=steps)
    class_weights = settings["class_weights"]

    state = None
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            state = training_state.load(Path(folder) / CHECKPOINT)

    def on_epoch(result: EpochResult) -> None:
        with tempfile.TemporaryDirectory() if rank == 0 else nullcontext() as folder:
            if folder:
                current = result.state()
                training_state.save(Path(folder) / CHECKPOINT, current)
                (Path(folder) / HISTORY).write_text(json.dumps({"spec": spec, "epochs": current["history"]}))
            ray.train.report(
                result.metrics,
                checkpoint=ray.train.Checkpoint.from_directory(folder) if folder else None,
                checkpoint_dir_name=f"epoch-{result.epoch:04d}",
            )

    fit(
        model,
        examples,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        optimizer=optimizer,
        scheduler=scheduler,
        loss_weights=settings["loss_weights"],
        class_weight_C=None if class_weights is None else torch.tensor(class_weights, device=device),
        augmentation=settings["augmentation"],
        seed=settings["seed"],
        round=settings["round"],
        device=device,
        precision=settings["precision"],
        rank=rank,
        world=world,
        loader_workers=settings["loader_workers"],
        validation=validation,
        validation_weights=validation_weights,
        patience=settings["patience"],
        state=state,
        on_epoch=on_epoch,
    )
