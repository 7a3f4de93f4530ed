"""Which terms the objective has: those with a weight whose supervision is on."""

from pipelines.config.root import Config


def loss_weights(config: Config) -> dict[str, float]:
    """The weight of each term of the objective; a term whose supervision is off, or whose weight is 0, is left out."""
    supervision, loss = config.supervision, config.loss
    on = {
        "point": loss.point if supervision.points else 0.0,
        "mask": loss.mask if reads_maps(config) else 0.0,
        "proportion": _weight(loss.proportion) if supervision.proportions else 0.0,
        "keypoint": _weight(loss.keypoint) if supervision.keypoints else 0.0,
        "consistency": loss.consistency,
        "assignment": loss.assignment,
    }
    return {name: weight for name, weight in on.items() if weight > 0}


def reads_maps(config: Config) -> bool:
    """Whether images bring dense labels: full masks, coarse labels, or points and answers spread over segments."""
    supervision = config.supervision
    regions = supervision.points and config.labelling.acquisition == "region"
    return bool(supervision.masks or supervision.coarse or supervision.spread or regions)


def crops_proportions(config: Config) -> bool:
    """Whether the objective reads class proportions of images that may have been cropped."""
    augmentation = config.training.augmentation
    if "proportion" not in loss_weights(config) or augmentation is None:
        return False
    return augmentation.may_crop(config.data.size or config.data.tile)


def more_than_paid(config: Config) -> str | None:
    """What training is told beyond what the bill says that people did, in one line; None = nothing."""
    if not (crops_proportions(config) and config.supervision.counted_anew):
        return None
    return (
        "class proportions are counted anew in every crop: that is more than an annotator's "
        f"{config.labelling.seconds.proportions:g} s per image would tell"
    )


def needs_segments(config: Config) -> list[str]:
    """The fields that cannot do without superpixels."""
    fields = {
        "loss.consistency": config.loss.consistency > 0,
        "supervision.spread": config.supervision.spread is not None,
        "labelling.one_per_segment": config.supervision.points and config.labelling.one_per_segment,
        "labelling.acquisition": config.supervision.points and config.labelling.acquisition == "region",
    }
    return [name for name, needed in fields.items() if needed]


def _weight(value: float | None) -> float:
    """Null is 1."""
    return 1.0 if value is None else value
