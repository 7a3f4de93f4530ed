import pickle
from pathlib import Path

import pytest

from pipelines.inputs import image_names, open_inputs
from weakseg.errors import DataError


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_every_image_below_the_folder_in_a_fixed_order(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a.png", "z/c.tif", "z/y/d.webp", "note.txt", ".hidden.png", ".cache/e.png", "a b/ü.bmp")
    expected = ["a.png", "b.JPG", "a b/ü.bmp", "z/c.tif", "z/y/d.webp"]
    assert image_names(open_inputs(str(tmp_path))).to_pylist() == expected


def test_a_relative_folder_is_the_same_one_for_a_process_that_works_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "photos", "a.png")
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(open_inputs("photos/"))
    monkeypatch.chdir("/")
    assert image_names(pickle.loads(sent)).to_pylist() == ["a.png"]


def test_an_empty_folder_has_no_names(tmp_path: Path) -> None:
    assert len(image_names(open_inputs(str(tmp_path)))) == 0


@pytest.mark.parametrize("pair", [("a.jpg", "a.png"), ("x/y.tif", "x/y.png")])
def test_two_images_of_one_mask_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    make(tmp_path, "other.png", *pair)
    with pytest.raises(DataError, match="would both become"):
        image_names(open_inputs(str(tmp_path)))


def test_equal_names_in_two_folders_are_two_images(tmp_path: Path) -> None:
    assert len(image_names(open_inputs(str(make(tmp_path, "x/a.png", "y/a.png", "a.png"))))) == 3


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_inputs(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="no such folder"):
        open_inputs(str(tmp_path / "file"))
