"""Rules between fields, each told with what to write instead."""

from collections.abc import Iterator
from itertools import pairwise

from pipelines.config.root import Config

Rule = tuple[tuple[str, ...], str]
"""The fields that a rule reads, the one to blame first, and what is wrong with it."""


def broken_rules(config: Config, verb: str = "active") -> Iterator[Rule]:
    """The rules between fields that a configuration breaks.

    Args:
        config: A configuration whose fields are each valid.
        verb: What it is for; `train` asks nothing.

    Yields:
        The fields concerned (the first is to blame) and the fault.
    """
    yield from _data(config)
    yield from _supervision(config, verb)
    yield from _training(config)
    yield from _rest(config)


def _data(config: Config) -> Iterator[Rule]:
    data = config.data
    if data.layout == "scenes" and data.path is not None:
        yield ("data.path", "data.layout"), "expected null where data.layout is scenes (they are generated); remove it"
    if data.layout != "scenes" and data.path is None:
        yield (
            ("data.path", "data.layout"),
            f"expected the folder of the {data.layout} data, got nothing; "
            "write path: /path/to/folder under data:, or pass --set data.path=/path/to/folder",
        )
    if data.layout != "scenes" and data.images is not None:
        yield (
            ("data.images", "data.layout"),
            f"only counts generated scenes; remove it for layout {data.layout}",
        )
    if data.layout == "camvid" and data.splits is not None:
        yield ("data.splits", "data.layout"), "expected null where data.layout is camvid: its folders are its splits"
    if data.layout == "aerial_dubai" and data.splits is not None and data.splits.test:
        yield (
            ("data.splits.test", "data.layout"),
            "expected 0 where data.layout is aerial_dubai: whole tiles are its test",
        )
    if data.splits is not None and data.splits.val + data.splits.test >= 1:
        held = data.splits.val + data.splits.test
        yield ("data.splits",), f"expected shares that leave images to train on, got val + test = {held:g}"
    if data.size is not None and data.tile is not None:
        yield ("data.tile", "data.size"), "expected data.size or data.tile, got both; set one of them to null"


def _supervision(config: Config, verb: str) -> Iterator[Rule]:
    supervision, loss, rounds = config.supervision, config.loss, config.labelling.rounds
    if not supervision.points and not supervision.masks:
        yield (
            ("supervision", "supervision.points", "supervision.masks"),
            "expected points: true or masks: true or both, got neither: there is nothing to learn from",
        )
        return
    if not supervision.points and rounds > 1 and verb != "train":
        yield (
            ("labelling.rounds", "supervision.points"),
            "expected 1 without supervision.points (labelling.acquisition needs points: nothing is asked), "
            f"got {rounds}; use the verb train, or pass --set labelling.rounds=1",
        )
    if not (supervision.points and loss.point) and not (supervision.masks and loss.mask):
        on = [name for name in ("points", "masks") if getattr(supervision, name)]
        yield (
            ("loss", "loss.point", "loss.mask", "supervision.points", "supervision.masks"),
            f"expected a weight above 0 for what supervision has on ({', '.join(on)}), got 0",
        )


def _training(config: Config) -> Iterator[Rule]:
    training, shape = config.training, config.data.size or config.data.tile
    schedule, augmentation = training.schedule, training.augmentation
    steps = list(schedule.milestones)
    milestones = "training.schedule.milestones"
    if schedule.name == "multistep" and not steps:
        yield (milestones, "training.schedule.name"), "expected the epochs of the steps, such as [20, 40], got []"
    if schedule.name != "multistep" and steps:
        yield (milestones, "training.schedule.name"), f"only counts for multistep; remove it for {schedule.name}"
    if any(later <= earlier for earlier, later in pairwise(steps)):
        yield (milestones,), f"expected rising epochs, got {steps}"
    if augmentation is not None:
        for name in ("scale", "blur_sigma"):
            least, most = getattr(augmentation, name)
            if least > most:
                yield (f"training.augmentation.{name}",), f"expected [least, most], got [{least:g}, {most:g}]"
        crop = augmentation.crop
        if crop is not None and shape is not None and (crop[0] > shape[0] or crop[1] > shape[1]):
            yield (
                ("training.augmentation.crop", "data.size", "data.tile"),
                f"expected at most the images' {list(shape)}, got {list(crop)}",
            )
    if training.batch_size < config.cluster.workers:
        yield (
            ("training.batch_size", "cluster.workers"),
            f"expected at least one image for each of {config.cluster.workers} workers, got {training.batch_size}",
        )
    if training.precision != "fp32" and config.cluster.gpu is False:
        yield (
            ("training.precision", "cluster.gpu"),
            f"expected fp32 where cluster.gpu is false, got {training.precision}",
        )


def _rest(config: Config) -> Iterator[Rule]:
    if (config.model.mean is None) != (config.model.std is None):
        missing, given = ("mean", "std") if config.model.mean is None else ("std", "mean")
        yield (f"model.{missing}", f"model.{given}"), f"expected three numbers beside model.{given}, got nothing"
    if config.stop.delta and config.stop.patience is None:
        yield ("stop.patience", "stop.delta"), "expected a number of rounds beside stop.delta, got nothing"
