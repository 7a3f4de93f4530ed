"""What runs in every training worker: :func:`weakseg.training.fit` between Ray Train's checkpoints."""

from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.train.collective import broadcast_from_rank_zero
from safetensors.torch import load as load_weights

from pipelines.checkpoints import Saver, checkpoint_name, load_state, newest
from pipelines.examples import PoolExamples
from weakseg import seeding
from weakseg.errors import ImageError, ResourceError, WeaksegError
from weakseg.models import build_model
from weakseg.training import EpochResult, Progress, build_optimizer, build_scheduler, fit, steps_per_epoch


def work(settings: dict[str, Any]) -> dict[str, WeaksegError] | None:
    """The training function of every rank. What is wrong with the user's input is returned: a retry cannot mend it."""
    try:
        _train(settings)
    except (ResourceError, ImageError):
        raise  # one worker's trouble, such as a storage that does not answer: the others would wait for it for ever
    except WeaksegError as error:
        return {"error": error}
    except torch.OutOfMemoryError as error:
        if ray.train.get_context().get_world_size() > 1:
            raise  # the others would wait for this one for ever
        told = str(error).partition(".")[0]
        return {"error": ResourceError(f"training.batch_size: the GPU is full ({told}); lower it, or the crop")}
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
    if settings["encoder"] is not None:
        model.encoder.load_state_dict(ray.get(settings["encoder"]))
    if settings["warm_start"] is not None:
        model.load_state_dict(load_weights(settings["warm_start"]))
    spec = model.spec
    model = model.to(device)
    optimizer = build_optimizer(model, **settings["optimizer"])
    steps = steps_per_epoch(len(examples), settings["batch_size"])
    scheduler = build_scheduler(optimizer, **settings["schedule"], epochs=settings["epochs"], steps_per_epoch=steps)
    class_weights = settings["class_weights"]

    storage, folder = settings["storage"], settings["folder"]
    # not Ray's own, which is as old as the controller's last question; one rank looks, so that all see the same
    name = broadcast_from_rank_zero(newest(storage, folder) if rank == 0 else None)
    state = load_state(storage, f"{folder}/{name}") if name else None
    saver = Saver(storage, folder, spec)
    warned: set[str] = set()

    def on_epoch(result: EpochResult) -> None:
        saver.report(checkpoint_name(result.epoch), result.state)

    def on_steps(progress: Progress) -> None:
        notice = ray.train.get_preemption_info()  # waits for all ranks, which are told the same
        if notice is not None and not warned.issuperset(notice.preempted_node_ids):
            warned.update(notice.preempted_node_ids)
            current = progress.state()  # on every rank
            saver.report(checkpoint_name(progress.epoch, progress.step), lambda: current)

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
        on_steps=on_steps,
    )
