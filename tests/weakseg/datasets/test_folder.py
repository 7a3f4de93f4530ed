import re
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from layouts import indices, write_folder
from PIL import Image

from weakseg.datasets import Classes, open_layout, records
from weakseg.errors import DataError


def opened(folder, **settings):
    return open_layout("folder", str(folder), **settings)


def by_id(layout):
    return {source.image_id: source for source in layout.sources()}


class TestSplits:
    def test_fractions_by_default(self, tmp_path):
        write_folder(tmp_path, images=20)
        assert Counter(s.split for s in opened(tmp_path).sources()) == {"train": 14, "val": 3, "test": 3}
        drawn = Counter(s.split for s in opened(tmp_path, splits={"val": 0.5}).sources())
        assert drawn == {"train": 10, "val": 10}

    def test_the_seed_draws(self, tmp_path):
        write_folder(tmp_path, images=20)
        first, same, other = (opened(tmp_path, seed=seed) for seed in (1, 1, 2))
        assert list(first.sources()) == list(same.sources())
        assert list(first.sources()) != list(other.sources())

    def test_sub_folders_are_groups_and_stay_whole(self, tmp_path):
        write_folder(tmp_path, images=20, nested=True)
        sources = list(opened(tmp_path).sources())
        assert {source.group for source in sources} == {f"site_{number}" for number in range(5)}
        assert len({(source.group, source.split) for source in sources}) == 5
        assert sources[0].image_id == "site_0/shot 0"
        assert sources[0].mask == "masks/site_0/shot 0.png"

    def test_deeper_folders_belong_to_the_topmost(self, tmp_path):
        write_folder(tmp_path, images=6)
        for number in range(2):
            (tmp_path / f"images/deep/visit {number}").mkdir(parents=True)
            (tmp_path / f"images/deep/visit {number}/x.png").write_bytes(b"")
        assert by_id(opened(tmp_path))["deep/visit 1/x"].group == "deep"

    def test_one_group_cannot_be_divided(self, tmp_path):
        write_folder(tmp_path, images=4)
        (tmp_path / "images").rename(tmp_path / "all")
        (tmp_path / "images").mkdir()
        (tmp_path / "all").rename(tmp_path / "images/all")
        with pytest.raises(DataError, match="1 groups cannot be divided into 3 splits.*sub-folder"):
            opened(tmp_path)

    def test_split_files(self, tmp_path):
        write_folder(tmp_path, split_files=True)
        splits = {image_id: source.split for image_id, source in by_id(opened(tmp_path)).items()}
        assert splits == {f"shot {n}": "train" if n < 6 else "val" if n < 8 else "test" for n in range(10)}

    def test_images_in_no_split_file(self, tmp_path):
        write_folder(tmp_path, split_files=True)
        (tmp_path / "test.txt").unlink()
        assert len(by_id(opened(tmp_path))) == 8  # left out: train.txt says who is train
        (tmp_path / "train.txt").unlink()
        assert Counter(s.split for s in opened(tmp_path).sources()) == {"train": 8, "val": 2}

    def test_split_folders(self, tmp_path):
        for split in ("train", "val"):
            write_folder(tmp_path / split, images=3)
            (tmp_path / "images").mkdir(exist_ok=True)
            (tmp_path / split / "images").rename(tmp_path / "images" / split)
        (tmp_path / "train/classes.yaml").rename(tmp_path / "classes.yaml")
        sources = list(opened(tmp_path).sources())
        assert Counter(source.split for source in sources) == {"train": 3, "val": 3}
        assert sources[0].image_id == "train/shot 0"
        with pytest.raises(DataError, match=r"data.splits asks for fractions, but .* already has images/train/"):
            opened(tmp_path, splits={"val": 0.2})

    def test_files_that_are_no_images_beside_split_folders_change_nothing(self, tmp_path):
        for split in ("train", "val", "test"):
            write_folder(tmp_path / split, images=2)
            (tmp_path / "images").mkdir(exist_ok=True)
            (tmp_path / split / "images").rename(tmp_path / "images" / split)
        (tmp_path / "train/classes.yaml").rename(tmp_path / "classes.yaml")
        (tmp_path / "images/Thumbs.db").write_bytes(b"x")
        sources = list(opened(tmp_path).sources())
        assert [source.image_id.split("/")[0] for source in sources] == [source.split for source in sources]

    @pytest.mark.parametrize("others", [("valid",), ("validation", "test"), ("val", "test", "extra")])
    def test_folders_of_which_some_are_named_after_splits(self, tmp_path, others):
        """Drawn as groups, test images would be trained on."""
        for name in ("train", *others):
            write_folder(tmp_path / name, images=2)
            (tmp_path / "images").mkdir(exist_ok=True)
            (tmp_path / name / "images").rename(tmp_path / "images" / name)
        (tmp_path / "train/classes.yaml").rename(tmp_path / "classes.yaml")
        with pytest.raises(DataError, match=r"images has .*train.* and also (val|extra).*name its folders"):
            opened(tmp_path)

    def test_two_splits_claiming_one_image(self, tmp_path):
        write_folder(tmp_path, split_files=True)
        with (tmp_path / "test.txt").open("a") as file:
            file.write("\nshot 1.jpg\n")
        with pytest.raises(DataError, match=r"shot 1 is named in train.txt and again in test.txt: keep one"):
            opened(tmp_path)

    def test_a_split_file_naming_an_unknown_image(self, tmp_path):
        write_folder(tmp_path, split_files=True)
        with (tmp_path / "val.txt").open("a") as file:
            file.write("shot 99\n")
        with pytest.raises(DataError, match=r"val.txt names shot 99, but there is no such image in .*images"):
            opened(tmp_path)

    def test_fractions_beside_split_files(self, tmp_path):
        write_folder(tmp_path, split_files=True)
        with pytest.raises(DataError, match=r"already has train.txt, val.txt, test.txt: remove one"):
            opened(tmp_path, splits={"val": 0.2})


class TestMasks:
    @pytest.mark.parametrize("masks", ["index", "palette", "color"])
    def test_three_ways_to_write_a_mask(self, tmp_path, masks):
        layout = opened(write_folder(tmp_path, masks=masks))
        source = by_id(layout)["shot 3"]
        np.testing.assert_array_equal(records(layout, source)[0].mask, indices("shot 3", 30, 40, [0, 1, 2, 255]))

    def test_masks_may_be_partial_or_absent(self, tmp_path):
        sources = by_id(opened(write_folder(tmp_path / "partial")))
        assert [image_id for image_id, source in sources.items() if source.mask is None] == ["shot 9"]
        assert {source.mask for source in opened(write_folder(tmp_path / "none", masks=None)).sources()} == {None}

    def test_masks_of_other_extensions(self, tmp_path):
        write_folder(tmp_path)
        Image.open(tmp_path / "masks/shot 0.png").save(tmp_path / "masks/shot 0.TIF", "TIFF")
        (tmp_path / "masks/shot 0.png").unlink()
        layout = opened(tmp_path)
        assert by_id(layout)["shot 0"].mask == "masks/shot 0.TIF"
        assert records(layout, by_id(layout)["shot 0"])[0].mask is not None

    def test_two_masks_of_one_image(self, tmp_path):
        write_folder(tmp_path)
        (tmp_path / "masks/shot 0.bmp").write_bytes(b"")
        with pytest.raises(DataError, match=r"shot 0 has several masks in masks/ \(shot 0\.\*\): keep one"):
            opened(tmp_path)

    def test_masks_that_fit_no_image(self, tmp_path):
        write_folder(tmp_path)
        for path in (tmp_path / "masks").iterdir():
            path.rename(path.with_stem(path.stem + "_mask"))
        with pytest.raises(DataError, match=r"has files, but none has the name of an image.*masks/a.png"):
            opened(tmp_path)


class TestBadFolders:
    def test_no_images_folder(self, tmp_path):
        with pytest.raises(DataError, match="has no folder images/: put the images there"):
            opened(tmp_path)

    def test_no_classes(self, tmp_path):
        write_folder(tmp_path)
        (tmp_path / "classes.yaml").unlink()
        with pytest.raises(
            DataError, match=r"no classes.yaml \(looked for .*classes.yaml\): write one, such as classes:"
        ):
            opened(tmp_path)

    def test_faulty_classes(self, tmp_path):
        write_folder(tmp_path)
        (tmp_path / "classes.yaml").write_text("classes: [{name: a, color: red}]")
        with pytest.raises(DataError, match=r"classes.yaml: class 0 \(a\): a color is .*, got 'red'; write it as"):
            opened(tmp_path)

    def test_no_images(self, tmp_path):
        write_folder(tmp_path)
        for path in (tmp_path / "images").iterdir():
            path.unlink()
        (tmp_path / "images/readme.txt").write_text("soon")
        with pytest.raises(DataError, match=r"images holds no images \(files with .*\.jpg"):
            opened(tmp_path)

    def test_two_images_of_one_name(self, tmp_path):
        write_folder(tmp_path, nested=True)
        (tmp_path / "images/site_1/shot 1.png").write_bytes(b"")
        with pytest.raises(
            DataError, match=re.escape("images/site_1/shot 1.jpg and images/site_1/shot 1.png would both")
        ):
            opened(tmp_path)

    def test_a_name_that_is_not_utf8(self, tmp_path):
        write_folder(tmp_path)
        try:
            (tmp_path / "images" / "a\udcff.png").write_bytes(b"")
        except (OSError, UnicodeEncodeError):
            pytest.skip("this file system takes only UTF-8 names")
        with pytest.raises(DataError, match="is not UTF-8: rename it"):
            opened(tmp_path)

    def test_hidden_and_other_files_are_passed_over_but_unreadable_images_are_not(self, tmp_path):
        write_folder(tmp_path)
        for name in (".hidden.png", "notes.txt", "Thumbs.db", "photo.HEIC"):
            (tmp_path / "images" / name).write_bytes(b"")
        assert set(by_id(opened(tmp_path))) == {*(f"shot {n}" for n in range(10)), "photo"}


def test_classes_come_from_the_file(tmp_path):
    layout = opened(write_folder(tmp_path))
    assert layout.classes == Classes.from_yaml(tmp_path / "classes.yaml")
    assert layout.classes.names == ("soil", "roof", "crop")


def test_listing_holds_little_per_image(tmp_path):
    """At most 100 bytes for each image, masks and drawn splits included."""
    count = 2_000
    write_folder(tmp_path, images=4)
    for number in range(count):
        (tmp_path / "images" / f"frame_{number:09d}.png").touch()
        (tmp_path / "masks" / f"frame_{number:09d}.png").touch()
    layout = opened(tmp_path)
    assert sum(1 for _ in layout.sources()) == count + 4
    tracemalloc.start()
    try:
        assert sum(source.mask is not None for source in layout.sources()) == count + 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * count + 40_000
