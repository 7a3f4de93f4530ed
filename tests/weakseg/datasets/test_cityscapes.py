import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from layouts import indices, picture, write_array, write_cityscapes
from PIL import Image

from weakseg import codec
from weakseg.datasets import Coarse, open_layout, records
from weakseg.datasets.cityscapes import open_cityscapes
from weakseg.errors import DataError, ImageError

# Cordts et al., table of label definitions: what evaluation counts; every other id is void.
IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}


@pytest.fixture
def folder(tmp_path):
    return write_cityscapes(tmp_path)


def cities(layout):
    found = defaultdict(set)
    for source in layout.sources():
        found[source.split].add(source.image.split("/")[2])
    return found


def test_published_val_is_test_and_val_is_whole_cities_of_train(folder):
    found = cities(open_layout("cityscapes", str(folder)))
    assert found["test"] == {"munster"}
    assert len(found["val"]) == 1
    assert found["train"] | found["val"] == {"aachen", "bochum", "jena", "ulm"}
    assert not found["train"] & found["val"]


def test_the_seed_and_the_share_choose_the_cities(folder):
    vals = {frozenset(cities(open_layout("cityscapes", str(folder), seed=seed))["val"]) for seed in range(8)}
    assert len(vals) > 1
    assert len(cities(open_layout("cityscapes", str(folder), splits={"val": 0.5}))["val"]) == 2
    assert not cities(open_layout("cityscapes", str(folder), splits={"val": 0}))["val"]
    with pytest.raises(DataError, match="the test images of cityscapes are those of its val/: give val only"):
        open_layout("cityscapes", str(folder), splits={"test": 0.2})


def test_names_and_groups(folder):
    source = next(open_layout("cityscapes", str(folder)).sources())
    assert source.image == "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    assert source.mask == "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    assert source.image_id == "train/aachen/aachen_000000_000019"
    assert source.group == "train/aachen"


def test_label_ids_become_the_19_classes_and_void(folder):
    layout = open_layout("cityscapes", str(folder))
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    found = layout.decode_mask(codec.encode_mask(ids))
    expected = {IDS[name]: number for number, name in enumerate(layout.classes.names)}
    assert len(expected) == 19
    assert found.ravel().tolist() == [expected.get(value, 255) for value in range(34)]
    assert layout.classes.colors[13] == (0, 0, 142)


@pytest.mark.parametrize("value", [34, 254])
def test_other_ids_are_refused(folder, value):
    layout = open_layout("cityscapes", str(folder))
    source = next(layout.sources())
    write_array(folder / source.mask, np.full((32, 64), value, np.uint8))
    with pytest.raises(DataError, match=rf"_gtFine_labelIds.png: id {value} at y=0, x=0 is none of Cityscapes' labelI"):
        records(layout, source)


def test_coarse_annotations_are_read_from_gt_coarse(folder):
    layout = open_layout("cityscapes", str(folder), coarse=True)
    source = next(layout.sources())
    (record,) = records(layout, source, coarse=Coarse("layout"))
    assert (record.coarse[:4] == 255).all()
    np.testing.assert_array_equal(record.coarse[4:], record.mask[4:])
    (folder / "gtCoarse/train/aachen/aachen_000000_000019_gtCoarse_labelIds.png").unlink()
    assert layout.read_coarse(source) is None
    assert records(layout, source, coarse=Coarse("layout"))[0].coarse is None


def test_a_broken_coarse_annotation_is_named(folder):
    layout = open_layout("cityscapes", str(folder), coarse=True)
    source = next(layout.sources())
    path = folder / "gtCoarse/train/aachen/aachen_000000_000019_gtCoarse_labelIds.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    for content, words in ((None, " is 8x8"), (b"no image", ": not an image.*; put the file right")):
        if content is not None:
            path.write_bytes(content)
        named = f"aachen_000000_000019_leftImg8bit.png: its coarse annotation{words}"
        with pytest.raises(DataError, match=named) as caught:
            records(layout, source, coarse=Coarse("layout"))
        assert not isinstance(caught.value, ImageError)


def test_a_tree_without_the_asked_annotation_is_refused(tmp_path):
    folder = write_cityscapes(tmp_path, coarse=False)
    assert open_layout("cityscapes", str(folder)).name == "cityscapes"
    with pytest.raises(
        DataError,
        match=re.escape(
            "no gtCoarse/train (there is gtFine/, leftImg8bit/); unpack gtCoarse.zip into it, "
            "or set supervision.coarse to masks"
        ),
    ):
        open_layout("cityscapes", str(folder), coarse=True)
    (folder / "gtFine").rename(folder / "gtCoarse")
    with pytest.raises(
        DataError,
        match=re.escape("no gtFine/train, gtFine/val (there is gtCoarse/, leftImg8bit/); unpack gtFine_trainvaltest"),
    ):
        open_layout("cityscapes", str(folder))


def test_a_missing_annotation_is_named(folder):
    (folder / "gtCoarse/train/ulm/ulm_000001_000019_gtCoarse_labelIds.png").unlink()
    with pytest.raises(
        DataError, match="has no coarse annotation: expected gtCoarse/train/ulm/ulm_000001_000019_gtCoa"
    ):
        open_layout("cityscapes", str(folder), coarse=True)
    (folder / "gtFine/val/munster/munster_000001_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(
        DataError, match=r"munster_000001_000019_leftImg8bit.png has no mask: expected gtFine/val/munste"
    ):
        open_layout("cityscapes", str(folder))


def test_train_extra_has_coarse_annotations_only(tmp_path):
    folder = write_cityscapes(tmp_path, train_extra=True)
    assert Counter(source.split for source in open_cityscapes(folder).sources()).total() == 10
    layout = open_cityscapes(folder, coarse=True, train_extra=True)
    extra = [source for source in layout.sources() if "/train_extra/" in source.image]
    assert [(source.split, source.group, source.mask) for source in extra] == [
        ("train", "train_extra/augsburg", None)
    ] * 2
    (record,) = records(layout, extra[0], coarse=Coarse("layout"))
    assert record.mask is None
    assert set(np.unique(record.coarse)) > {0, 255}
    with pytest.raises(
        DataError, match=r"no leftImg8bit/train_extra, gtCoarse/train_extra .*leftImg8bit_trainextra.zip"
    ):
        open_cityscapes(write_cityscapes(tmp_path / "without"), train_extra=True)


def test_another_name_is_refused(folder):
    write_array(folder / "leftImg8bit/train/ulm/ulm.png", picture("ulm", 32, 64))
    with pytest.raises(DataError, match=r"leftImg8bit/train/ulm/ulm.png is not named as in Cityscapes"):
        open_layout("cityscapes", str(folder))


def test_quarter_size_comes_from_data_size(folder):
    layout = open_layout("cityscapes", str(folder))
    source = next(layout.sources())
    (record,) = records(layout, source, size=(8, 16))
    ids = indices("aachen_000000_000019", 32, 64, list(range(34)))
    wanted = [list(IDS.values()).index(value) if value in IDS.values() else 255 for value in ids[2::4, 2::4].ravel()]
    assert record.mask.ravel().tolist() == wanted
