import re

import numpy as np
import pytest
from layouts import indices, write_camvid
from PIL import Image

from weakseg.datasets import open_layout, records
from weakseg.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return write_camvid(tmp_path)


def test_splits_are_the_folders_and_both_extensions_are_taken(folder):
    sources = list(open_layout("camvid", str(folder)).sources())
    assert [source.split for source in sources] == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert sources[0].image_id == "train/0001TP_00000"
    assert sources[0].mask == "trainannot/0001TP_00000.png"
    assert {source.image[-4:] for source in sources} == {".png", ".jpg"}


def test_index_eleven_is_void(folder):
    layout = open_layout("camvid", str(folder))
    source = next(layout.sources())
    stored = indices("0001TP_00000", 36, 48, list(range(12)))
    np.testing.assert_array_equal(records(layout, source)[0].mask, np.where(stored == 11, 255, stored))


def test_the_usual_eleven_classes_and_colours(folder):
    classes = open_layout("camvid", str(folder)).classes
    assert len(classes) == 11
    assert classes.names[0] == "sky"
    assert classes.colors[classes.names.index("road")] == (128, 64, 128)


def test_another_index_is_refused(folder):
    layout = open_layout("camvid", str(folder))
    Image.fromarray(np.full((36, 48), 12, np.uint8)).save(folder / "trainannot/0001TP_00000.png")
    with pytest.raises(DataError, match=re.escape("trainannot/0001TP_00000.png: class index 12 at y=0, x=0")):
        records(layout, next(layout.sources()))


def test_missing_folders_are_named(folder):
    (folder / "valannot").rename(folder / "val_masks")
    with pytest.raises(DataError, match="no valannot; expected train/ trainannot/"):
        open_layout("camvid", str(folder))


def test_a_frame_without_mask_is_refused(folder):
    (folder / "valannot/0016E5_00000.png").unlink()
    with pytest.raises(
        DataError, match=re.escape("val/0016E5_00000.png has no mask: expected valannot/0016E5_00000.png")
    ):
        open_layout("camvid", str(folder))


def test_two_images_of_one_name_are_refused(folder):
    (folder / "train/0001TP_00000.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"train/0001TP_00000.jpg and train/0001TP_00000.png would both be image"):
        open_layout("camvid", str(folder))


def test_two_splits_claiming_one_frame_are_refused(folder):
    for kind in ("", "annot"):
        data = (folder / f"train{kind}/0001TP_00030.png").read_bytes()
        (folder / f"test{kind}/0001TP_00030.png").write_bytes(data)
    with pytest.raises(DataError, match=r"two splits claim frame 0001TP_00030: train/0001TP_00030.png and test/0001TP"):
        open_layout("camvid", str(folder))


def test_fractions_are_refused(folder):
    with pytest.raises(DataError, match="camvid has its own splits"):
        open_layout("camvid", str(folder), splits={"val": 0.1})
