import pytest

from pipelines.config import load
from pipelines.config.terms import loss_weights, more_than_paid, needs_segments


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ([], {"point": 1.0}),
        (["supervision.masks=true", "loss.mask=0.5"], {"point": 1.0, "mask": 0.5}),
        (["supervision.coarse=masks"], {"point": 1.0, "mask": 1.0}),
        (["supervision.spread=segment"], {"point": 1.0, "mask": 1.0}),
        (["labelling.acquisition=region"], {"point": 1.0, "mask": 1.0}),
        (["supervision.proportions=masks"], {"point": 1.0, "proportion": 1.0}),
        (["supervision.proportions=masks", "loss.proportion=0"], {"point": 1.0}),
        (["supervision.keypoints=labels", "loss.keypoint=0.3"], {"point": 1.0, "keypoint": 0.3}),
        (["loss.consistency=0.2"], {"point": 1.0, "consistency": 0.2}),
        (["supervision={points: false, proportions: masks}", "labelling.rounds=1"], {"proportion": 1.0}),
    ],
)
def test_a_term_is_there_where_its_supervision_is_and_its_weight(settings: list[str], weights: dict[str, float]):
    assert loss_weights(load("demo", settings)) == weights


def test_what_needs_superpixels():
    assert needs_segments(load("demo")) == []
    settings = ["loss.consistency=1", "supervision.spread=segment", "labelling.one_per_segment=true"]
    assert needs_segments(load("demo", settings)) == [
        "loss.consistency",
        "supervision.spread",
        "labelling.one_per_segment",
    ]


PROPORTIONS = ["supervision.proportions=masks", "data.size=[48, 64]"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], True),  # the demo crops
        (["supervision.noise.normalise=clip"], True),  # of no noise
        (["labelling.seconds.proportions=12.5"], True),
        (["training.augmentation={scale: [0.5, 1.5]}"], True),
        (["training.augmentation={scale: [0.5, 1.0], crop: [48, 48]}"], True),
        (["training.augmentation={scale: [0.5, 1.0], crop: [48, 64]}"], False),
        (["training.augmentation={scale: [0.5, 1.0]}"], False),
        (["training.augmentation={scale: [1.0, 1.0], crop: [32, 32]}", "data.size=null"], True),
        (["training.augmentation=null"], False),
        (["loss.proportion=0"], False),
        (["supervision.proportions=null"], False),
        (["supervision.noise.sigma=0.1", "training.augmentation=null"], False),
    ],
)
def test_proportions_of_crops_are_more_than_was_paid_for(settings: list[str], told: bool):
    config = load("demo", [*PROPORTIONS, "training.augmentation.crop=null", *settings])
    seconds = "12.5" if "12.5" in str(settings) else "20"
    note = "class proportions are counted anew in every crop: that is more than an annotator's"
    assert more_than_paid(config) == (f"{note} {seconds} s per image would tell" if told else None)
