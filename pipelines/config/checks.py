"""Rules between fields, each told with what to write instead."""

from collections.abc import Iterator
from itertools import pairwise

from pipelines.config.faults import Rule
from pipelines.config.labelling_checks import asking, people
from pipelines.config.root import Config
from pipelines.config.supervision import Noise
from pipelines.config.terms import crops_proportions, loss_weights, needs_segments
from pipelines.credentials import holds_password

_OWN_SPLITS = {"camvid": "folders", "pannuke": "folds"}
_OWN_TEST = {
    "aerial_dubai": "whole tiles are",
    "cityscapes": "its published val cities are",
    "epfl_em": "testing.tif is",
    "suim": "TEST/ is",
    "voc": "its published val list is",
    "voc_aug": "its published val list is",
}
"""Of layouts that say which images are test, and of some which are val."""


def broken_rules(config: Config, verb: str = "active") -> Iterator[Rule]:
    """The rules between fields that a configuration breaks.

    Args:
        config: A configuration whose fields are each valid.
        verb: What it is for; only `active` asks in rounds.

    Yields:
        The fields concerned (the first is to blame) and the fault.
    """
    yield from _data(config)
    yield from _supervision(config, verb)
    yield from _training(config)
    yield from _model(config)
    yield from asking(config)
    yield from people(config)
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
    if data.layout in _OWN_SPLITS and data.splits is not None:
        yield (
            ("data.splits", "data.layout"),
            f"expected null where data.layout is {data.layout}: its {_OWN_SPLITS[data.layout]} are its splits",
        )
    if data.layout in _OWN_TEST and data.splits is not None and data.splits.test:
        yield (
            ("data.splits.test", "data.layout"),
            f"expected 0 where data.layout is {data.layout}: {_OWN_TEST[data.layout]} its test",
        )
    if data.splits is not None and data.splits.val + data.splits.test >= 1:
        held = data.splits.val + data.splits.test
        yield ("data.splits",), f"expected shares that leave images to train on, got val + test = {held:g}"
    if data.size is not None and data.tile is not None:
        yield ("data.tile", "data.size"), "expected data.size or data.tile, got both; set one of them to null"


KINDS = ("points", "masks", "proportions", "coarse", "keypoints")


def _supervision(config: Config, verb: str) -> Iterator[Rule]:
    supervision, rounds = config.supervision, config.labelling.rounds
    on = [name for name in KINDS if getattr(supervision, name)]
    if not on:
        yield (
            ("supervision", *(f"supervision.{name}" for name in KINDS)),
            f"expected at least one of {', '.join(KINDS)}, got none of them: there is nothing to learn from",
        )
        return
    if not supervision.points and rounds > 1 and verb == "active":
        yield (
            ("labelling.rounds", "supervision.points"),
            "expected 1 without supervision.points (labelling.acquisition needs points: nothing is asked), "
            f"got {rounds}; use the verb train, or pass --set labelling.rounds=1",
        )
    if not loss_weights(config).keys() - {"consistency", "assignment"}:
        yield (
            ("loss", *(f"loss.{name}" for name in TERM_KINDS), *(f"supervision.{name}" for name in KINDS)),
            f"expected a weight above 0 for what supervision has on ({', '.join(on)}), got 0",
        )
    for term, kind in (("proportion", "proportions"), ("keypoint", "keypoints")):
        weight = getattr(config.loss, term)
        if weight and not getattr(supervision, kind):
            yield (
                (f"loss.{term}", f"supervision.{kind}"),
                f"expected null or 0 where supervision.{kind} is null, got {weight:g}; "
                f"set supervision.{kind}, or remove the weight",
            )
    if supervision.keypoints == "labels" and not supervision.points:
        yield ("supervision.keypoints", "supervision.points"), "expected masks where supervision.points is false"
    if supervision.noise != Noise() and not supervision.proportions:
        yield ("supervision.noise", "supervision.proportions"), "only counts with supervision.proportions; remove it"
    if supervision.masks and not config.loss.mask:
        yield (
            ("supervision.masks", "loss.mask"),
            "only counts with a weight loss.mask, which is 0: masks would be paid for and not read; set it to false",
        )
    for kind in ("masks", "coarse", "proportions", "keypoints"):
        if getattr(supervision.share, kind) < 1 and not getattr(supervision, kind):
            yield (
                (f"supervision.share.{kind}", f"supervision.{kind}"),
                f"only counts with supervision.{kind}; remove it",
            )
    if supervision.keypoints == "labels" and config.labelling.acquisition == "region":
        yield (
            ("supervision.keypoints", "labelling.acquisition"),
            "expected null or masks where whole regions are asked, which are no keypoints",
        )
    if supervision.keypoints == "labels" and supervision.share.keypoints < 1:
        yield (
            ("supervision.share.keypoints", "supervision.keypoints"),
            "only counts for keypoints from masks; remove it",
        )
    yield from _superpixels(config)
    yield from _whole_images(config)


TERM_KINDS = ("point", "mask", "proportion", "keypoint")


def _superpixels(config: Config) -> Iterator[Rule]:
    for field in needs_segments(config):
        if config.superpixels.segments == 0:
            yield (
                (field, "superpixels.segments"),
                "needs superpixels, but superpixels.segments is 0; set it, such as --set superpixels.segments=500",
            )
    if config.supervision.spread and not config.supervision.points:
        yield ("supervision.spread", "supervision.points"), "only counts with supervision.points; remove it"


def _whole_images(config: Config) -> Iterator[Rule]:
    """Proportions speak of the whole image: they do not hold for a crop of it."""
    if crops_proportions(config) and not config.supervision.counted_anew:
        yield (
            ("training.augmentation", "supervision.proportions", "training.augmentation.scale"),
            "may crop images (scale above 1, or a crop smaller than them), but proportions hold for whole images only; "
            "set training.augmentation.scale to at most [0.5, 1.0] and crop to null, or loss.proportion to 0",
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
                f"expected at most the images' {list(shape)}, got {list(crop)}; null is the images' own size",
            )
    cluster = config.cluster
    if cluster.least_workers > cluster.most_workers:
        yield ("cluster.workers",), f"expected [least, most], got {list(cluster.workers)}"
    if training.batch_size < 2 * cluster.most_workers:
        yield (
            ("training.batch_size", "cluster.workers"),
            f"expected at least two images for each of {cluster.most_workers} workers (batch normalisation cannot "
            f"train on one), got {training.batch_size}; set training.batch_size to {2 * cluster.most_workers} or more, "
            "or fewer workers",
        )
    if training.precision != "fp32" and config.cluster.gpu is False:
        yield (
            ("training.precision", "cluster.gpu"),
            f"expected fp32 where cluster.gpu is false, got {training.precision}",
        )


def _model(config: Config) -> Iterator[Rule]:
    model = config.model
    if model.architecture == "unet_spss":
        if model.encoder is not None:
            yield (
                ("model.encoder", "model.architecture"),
                f"expected null for unet_spss, which has an encoder of its own, got {model.encoder}",
            )
        if model.weights is not None:
            yield (
                ("model.weights", "model.architecture"),
                "expected null for unet_spss, which starts from random weights",
            )
    elif model.encoder is None:
        yield (
            ("model.encoder", "model.architecture"),
            f"expected the name of an encoder for {model.architecture}, such as resnet34, got null",
        )
    if model.filters is not None and model.architecture != "unet_spss":
        yield ("model.filters", "model.architecture"), f"only counts for unet_spss; remove it for {model.architecture}"
    if model.upsampling == "superpixel" and model.architecture != "fcn16":
        yield (
            ("model.upsampling", "model.architecture"),
            f"expected bilinear for {model.architecture}: superpixel upsampling is for fcn16",
        )
    if config.loss.assignment and model.upsampling != "superpixel":
        yield (
            ("loss.assignment", "model.upsampling"),
            f"needs learned superpixels, but model.upsampling is {model.upsampling}; set it to superpixel "
            "(with model.architecture fcn16), or the weight to 0",
        )


def _rest(config: Config) -> Iterator[Rule]:
    if (config.model.mean is None) != (config.model.std is None):
        missing, given = ("mean", "std") if config.model.mean is None else ("std", "mean")
        yield (f"model.{missing}", f"model.{given}"), f"expected three numbers beside model.{given}, got nothing"
    if config.tracking.uri and holds_password(config.tracking.uri):
        yield (
            ("tracking.uri",),
            "expected an address without a password, because settings are written down; remove it and export "
            "MLFLOW_TRACKING_URI with it, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if config.stop.delta and config.stop.patience is None:
        yield ("stop.patience", "stop.delta"), "expected a number of rounds beside stop.delta, got nothing"
