import pytest

from pipelines.config import load
from weakseg.errors import ConfigError

BROKEN = {
    "data.path: expected the folder of the camvid data, got nothing; write path:": [
        "data.layout=camvid",
        "data.images=null",
    ],
    "data.images: only counts generated scenes": ["data.layout=folder", "data.path=x"],
    "data.splits: expected null where data.layout is camvid": [
        "data.layout=camvid",
        "data.path=x",
        "data.images=null",
        "data.splits={val: .1}",
    ],
    "data.splits.test: expected 0 where data.layout is aerial_dubai": [
        "data.layout=aerial_dubai",
        "data.path=x",
        "data.images=null",
        "data.splits={val: .1, test: .1}",
    ],
    "data.splits: expected null where data.layout is pannuke: its folds are its splits": [
        "data.layout=pannuke",
        "data.path=x",
        "data.images=null",
        "data.splits={val: .1}",
    ],
    **{
        f"data.splits.test: expected 0 where data.layout is {layout}: {test} its test": [
            f"data.layout={layout}",
            "data.path=x",
            "data.images=null",
            "data.splits={test: .1}",
        ]
        for layout, test in {
            "cityscapes": "its published val cities are",
            "voc": "its published val list is",
            "voc_aug": "its published val list is",
            "suim": "TEST/ is",
            "epfl_em": "testing.tif is",
        }.items()
    },
    "data.splits: expected shares that leave images to train on, got val + test = 1": [
        "data.splits={val: .5, test: .5}"
    ],
    "data.tile: expected data.size or data.tile": ["data.tile=[96, 128]"],
    "labelling.rounds: expected 1 without supervision.points (labelling.acquisition needs points": [
        "supervision={points: false, masks: true}"
    ],
    "loss: expected a weight above 0 for what supervision has on (points), got 0": ["loss.point=0"],
    "training.schedule.milestones: expected the epochs of the steps": ["training.schedule={name: multistep}"],
    "training.schedule.milestones: only counts for multistep; remove it for poly": ["training.schedule.milestones=[3]"],
    "training.schedule.milestones: expected rising epochs, got [4, 4]": [
        "training.schedule={name: multistep, milestones: [4, 4]}"
    ],
    "training.augmentation.scale: expected [least, most], got [2, 1]": ["training.augmentation.scale=[2, 1]"],
    "training.augmentation.blur_sigma: expected [least, most], got [2, 1]": ["training.augmentation.blur_sigma=[2, 1]"],
    "training.augmentation.crop: expected at most the images' [96, 128], got [96, 256]": [
        "training.augmentation.crop=[96, 256]"
    ],
    "training.batch_size: expected at least two images for each of 3 workers (batch normalisation cannot train on one"
    "), got 4": ["cluster.workers=3"],
    "training.batch_size: expected at least two images for each of 4 workers": ["cluster.workers=[1, 4]"],
    "cluster.workers: expected [least, most], got [2, 1]": ["cluster.workers=[2, 1]"],
    "training.precision: expected fp32 where cluster.gpu is false, got fp16": [
        "training.precision=fp16",
        "cluster.gpu=false",
    ],
    "model.std: expected three numbers beside model.mean": ["model.mean=[.4, .4, .4]"],
    "stop.patience: expected a number of rounds beside stop.delta": ["stop.delta=.01"],
    "supervision: expected at least one of points, masks, proportions, coarse, keypoints": ["supervision.points=false"],
    "loss.proportion: expected null or 0 where supervision.proportions is null, got 0.5; set supervision.proportions": [
        "loss.proportion=0.5"
    ],
    "loss.keypoint: expected null or 0 where supervision.keypoints is null, got 2; set supervision.keypoints": [
        "loss.keypoint=2"
    ],
    "supervision.keypoints: expected masks where supervision.points is false": [
        "supervision={points: false, masks: true, keypoints: labels}",
        "labelling.rounds=1",
    ],
    "supervision.noise: only counts with supervision.proportions; remove it": ["supervision.noise.sigma=0.1"],
    "supervision.masks: only counts with a weight loss.mask, which is 0": ["supervision.masks=true", "loss.mask=0"],
    "labelling.one_per_segment: only counts where pixels are asked, not regions; remove it": [
        "labelling.one_per_segment=true",
        "labelling.acquisition=region",
    ],
    "labelling.committee: only counts with supervision.points; remove it": [
        "supervision={points: false, masks: true}",
        "labelling={rounds: 1, committee: {passes: 5}}",
        "model.dropout=0.2",
    ],
    "labelling.error_rate: only counts with supervision.points; remove it": [
        "supervision={points: false, masks: true}",
        "labelling={rounds: 1, error_rate: 0.1}",
    ],
    "labelling.answered_share: only counts where people answer; remove it": ["labelling.answered_share=0.9"],
    "supervision.share.masks: only counts with supervision.masks; remove it": ["supervision.share.masks=0.5"],
    "supervision.share.keypoints: only counts for keypoints from masks; remove it": [
        "supervision.keypoints=labels",
        "supervision.share.keypoints=0.5",
    ],
    "supervision.spread: only counts with supervision.points; remove it": [
        "supervision={points: false, masks: true, spread: segment}",
        "labelling.rounds=1",
    ],
    "supervision.spread: needs superpixels, but superpixels.segments is 0; set it, such as --set superpixels.": [
        "supervision.spread=segment",
        "superpixels.segments=0",
    ],
    "loss.consistency: needs superpixels": ["loss.consistency=0.1", "superpixels.segments=0"],
    "labelling.one_per_segment: needs superpixels": ["labelling.one_per_segment=true", "superpixels.segments=0"],
    "labelling.acquisition: needs superpixels": ["labelling.acquisition=region", "superpixels.segments=0"],
    "training.augmentation: may crop images (scale above 1, or a crop smaller than them), but proportions hold": [
        "supervision.proportions=masks",
        "supervision.noise.sigma=0.1",
    ],
    "model.encoder: expected null for unet_spss, which has an encoder of its own, got resnet18": [
        "model.architecture=unet_spss"
    ],
    "model.encoder: expected the name of an encoder for fcn8, such as resnet34, got null": ["model.encoder=null"],
    "model.weights: expected null for unet_spss": ["model={architecture: unet_spss, encoder: null, weights: imagenet}"],
    "model.filters: only counts for unet_spss; remove it for fcn8": ["model.filters=8"],
    "model.upsampling: expected bilinear for fcn8: superpixel upsampling is for fcn16": ["model.upsampling=superpixel"],
    "loss.assignment: needs learned superpixels, but model.upsampling is bilinear; set it to superpixel": [
        "loss.assignment=0.1"
    ],
    "labelling.committee: needs a model with dropout, but model.dropout is 0": ["labelling.committee={passes: 5}"],
    "labelling.committee: only counts where a prediction is scored; remove it": [
        "labelling.committee={passes: 5}",
        "labelling.acquisition=random",
        "model.dropout=0.2",
    ],
    "labelling.acquisition: mutual_information needs a committee": ["labelling.acquisition=mutual_information"],
    "labelling.committee.vote: expected soft for mutual_information": [
        "labelling.acquisition=mutual_information",
        "labelling.committee={passes: 5, vote: hard}",
        "model.dropout=0.2",
    ],
    "supervision.keypoints: expected null or masks where whole regions are asked": [
        "labelling.acquisition=region",
        "supervision.keypoints=labels",
        "superpixels.segments=50",
    ],
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_rule_between_fields_is_told_alone_and_with_its_remedy(line: str):
    with pytest.raises(ConfigError) as caught:
        load("demo", [*BROKEN[line], "data.size=[96, 128]"])
    (fault,) = caught.value.faults
    assert fault.startswith(line)


def test_a_rule_about_a_faulty_field_is_left_for_later():
    with pytest.raises(ConfigError) as caught:
        load("demo", ["data.layout=camwid", "stop.delta=2"])
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["data.layout", "stop.delta"]


@pytest.mark.parametrize("verb", ["train", "prepare", "evaluate", "report", "status", "config"])
def test_training_once_on_masks_needs_no_other_rounds(verb: str):
    """Nor does looking at what was trained so."""
    config = load("demo", ["supervision={points: false, masks: true}"], verb=verb)
    assert config.supervision.masks


@pytest.mark.parametrize(
    "settings",
    [
        ["supervision.proportions=masks"],  # counted anew in every crop
        ["supervision.proportions=masks", "supervision.noise.normalise=clip"],  # of noise that there is none of
        ["supervision.proportions=masks", "supervision.noise.sigma=0.1", "training.augmentation.scale=[0.5, 1.0]"],
        ["supervision.proportions=masks", "supervision.noise.clusters=5", "training.augmentation=null"],
        ["supervision.proportions=masks", "supervision.noise.sigma=0.1", "loss.proportion=0"],
    ],
)
def test_proportions_go_with_whole_images_and_with_crops_that_are_counted(settings: list[str]):
    assert load("demo", [*settings, "data.size=[96, 128]"]).supervision.proportions == "masks"


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(
        ConfigError, match=r"supervision.proportions: expected null, masks, people or a file, got /no/file"
    ):
        load("demo", ["supervision.proportions=/no/file.csv"])


def test_crop_may_be_anything_where_images_keep_their_size():
    assert load("demo", ["data.size=null", "training.augmentation.crop=[512, 512]"]).data.size is None
