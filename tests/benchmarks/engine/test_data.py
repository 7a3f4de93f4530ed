import pytest

from benchmarks.engine import data
from weakseg.datasets import open_layout


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """No real data, and small scenes."""
    monkeypatch.delenv("WEAKSEG_TEST_DATA", raising=False)
    monkeypatch.delenv("CAMVID", raising=False)
    monkeypatch.setattr(data, "SIZE", (48, 64))


def test_generated_scenes_stand_in_for_camvid(tmp_path):
    folder = data.images_folder(tmp_path / "images-3", 3)
    layout = open_layout("camvid", str(folder))
    splits = [source.split for source in layout.sources()]
    assert splits == ["train"] * 3 + ["val", "test"]
    image, mask = layout.read(next(iter(layout.sources())))
    assert image
    assert mask is not None
    assert layout.decode_mask(mask).shape == (48, 64)
    assert data.source() == "generated scenes"


def test_more_images_than_there_are_repeat_under_other_names(tmp_path, monkeypatch):
    root = tmp_path / "camvid"
    for name in ("train", "trainannot"):
        (root / name).mkdir(parents=True)
    for number in range(2):
        (root / "train" / f"f{number}.png").write_bytes(b"image")
        (root / "trainannot" / f"f{number}.png").write_bytes(b"mask")
    monkeypatch.setenv("CAMVID", str(root))
    folder = data.images_folder(tmp_path / "images-5", 5)
    assert len(list((folder / "train").iterdir())) == 5
    assert (folder / "train" / "train-000004.png").read_bytes() == b"image"
    assert (folder / "trainannot" / "train-000004.png").resolve().name == "f0.png"
