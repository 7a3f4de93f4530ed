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
    "training.batch_size: expected at least one image for each of 5 workers, got 4": ["cluster.workers=5"],
    "training.precision: expected fp32 where cluster.gpu is false, got fp16": [
        "training.precision=fp16",
        "cluster.gpu=false",
    ],
    "model.std: expected three numbers beside model.mean": ["model.mean=[.4, .4, .4]"],
    "stop.patience: expected a number of rounds beside stop.delta": ["stop.delta=.01"],
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


def test_training_once_on_masks_needs_no_other_rounds():
    config = load("demo", ["supervision={points: false, masks: true}"], verb="train")
    assert config.supervision.masks


def test_crop_may_be_anything_where_images_keep_their_size():
    assert load("demo", ["data.size=null", "training.augmentation.crop=[512, 512]"]).data.size is None
