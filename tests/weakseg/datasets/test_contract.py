"""What every data set must keep to, whatever it looks like on disk."""

import hashlib
import os
import pickle
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from archives import archive
from layouts import WRITERS

from weakseg import codec
from weakseg.datasets import LAYOUTS, Coarse, has_coarse, member, open_layout, records, windows
from weakseg.errors import DataError

KINDS = [*WRITERS, *(f"{kind}, archived" for kind in WRITERS), "scenes"]
WITHOUT_VOID = {"suim", "pannuke", "epfl_em"}
CUTS = {
    "whole": {},
    "resized": {"size": (24, 32)},
    "tiled": {"tile": (16, 13)},
    "both": {"size": (24, 32), "tile": (12, 16)},
}

REAL = os.environ.get("WEAKSEG_TEST_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="WEAKSEG_TEST_DATA is not set: no real data sets here")


def opened(kind, folder):
    if kind == "scenes":
        return open_layout(kind, None, images=8, size=(40, 48), seed=3)
    kind, archived, _ = kind.partition(", archived")
    name, write = WRITERS[kind]
    path = write(folder)
    return open_layout(name, str(path), seed=3, files=archive(path) if archived else None)


@pytest.fixture(params=KINDS)
def layout(request, tmp_path):
    return opened(request.param, tmp_path / "data")


class TestSources:
    def test_ids_are_unique_stable_and_relative(self, layout):
        sources = list(layout.sources())
        assert len(sources) >= 8
        assert max(Counter(source.image_id for source in sources).values()) == 1
        assert list(layout.sources()) == sources
        for source in sources:
            for path in (source.image_id, source.image, source.group, source.mask or "-"):
                assert not Path(path).is_absolute()
                assert "\\" not in path
            assert not source.image_id.endswith((".png", ".jpg", ".tif", ".npy"))

    def test_paths_lead_to_files(self, layout):
        for source in layout.sources() if hasattr(layout, "root") else ():
            for path in (source.image, source.mask or source.image):
                assert layout.files.is_file(member(path)[0])

    @pytest.mark.parametrize("kind", KINDS)
    def test_where_the_folder_lies_does_not_matter(self, kind, tmp_path):
        here, there = opened(kind, tmp_path / "here"), opened(kind, tmp_path / "far" / "away")
        assert list(here.sources()) == list(there.sources())

    @pytest.mark.parametrize("kind", WRITERS)
    def test_whether_it_is_a_folder_does_not_matter(self, kind, tmp_path):
        folder, other = opened(kind, tmp_path / "here"), opened(f"{kind}, archived", tmp_path / "there")
        assert list(folder.sources()) == list(other.sources())
        for source in folder.sources():
            assert folder.read(source) == other.read(source)
            if has_coarse(folder):
                assert folder.read_coarse(source) == other.read_coarse(source)

    def test_every_split_has_images_and_cuts_no_group(self, layout):
        groups = defaultdict(set)
        for source in layout.sources():
            groups[source.group].add(source.split)
        assert {len(splits) for splits in groups.values()} == {1}
        assert set.union(*groups.values()) == {"train", "val", "test"}

    def test_it_travels_to_workers(self, layout):
        source = next(layout.sources())
        twin = pickle.loads(pickle.dumps(layout))
        assert twin == layout
        assert len(pickle.dumps(layout)) < 2000
        assert twin.read(pickle.loads(pickle.dumps(source))) == layout.read(source)

    def test_name_and_classes(self, layout):
        assert layout.name in LAYOUTS
        assert len(layout.classes) >= 2
        assert layout.classes.from_yaml(layout.classes.to_yaml()) == layout.classes


class TestRecords:
    @pytest.mark.parametrize("cut", CUTS)
    def test_records_hold_what_they_say(self, layout, cut):
        settings = CUTS[cut]
        ids = []
        for source in layout.sources():
            found = records(layout, source, **settings)
            again = records(layout, source, **settings)
            assert [record.sha256 for record in again] == [record.sha256 for record in found]
            height, width = codec.decode_image(layout.read(source)[0]).shape[:2]
            for record in found:
                ids.append(record.image_id)
                image = codec.decode_image(record.image)
                assert image.shape == (record.height, record.width, 3)
                assert codec.image_size(record.image) == (record.height, record.width)
                assert codec.is_plain(record.image)
                assert record.sha256 == hashlib.sha256(record.image).hexdigest()
                assert (record.split, record.group, record.source) == (source.split, source.group, source.image)
                assert (record.source_height, record.source_width) == (height, width)
                assert (record.height, record.width) == settings.get("tile", settings.get("size", (height, width)))
                if source.mask is None:
                    assert record.mask is None
                else:
                    assert record.mask.dtype == np.uint8
                    assert record.mask.shape == image.shape[:2]
                    assert ((record.mask < len(layout.classes)) | (record.mask == 255)).all()
            expected = (
                len(list(windows(*settings.get("size", (height, width)), settings["tile"])))
                if "tile" in settings
                else 1
            )
            assert len(found) == expected
        assert len(set(ids)) == len(ids)

    def test_all_classes_and_void_come_through(self, layout):
        masks = [records(layout, source)[0].mask for source in layout.sources() if source.mask]
        if not masks:
            assert layout.name == "folder"
            return
        found = set(np.unique(np.concatenate([mask.ravel() for mask in masks])))
        missing = set(range(len(layout.classes))) - found
        assert not missing
        if layout.name != "scenes":  # few scenes have a cloud
            assert (255 in found) == (layout.name not in WITHOUT_VOID)


class TestCoarse:
    @pytest.mark.parametrize("cut", CUTS)
    def test_from_masks_it_is_cut_as_masks_are(self, layout, cut):
        for source in list(layout.sources())[:2]:
            found = records(layout, source, **CUTS[cut], coarse=Coarse(), coarsen=lambda mask_HW, **_: mask_HW)
            for record in found:
                np.testing.assert_array_equal(record.coarse, record.mask)
                assert (record.coarse is None) == (source.mask is None)

    @pytest.mark.parametrize("cut", CUTS)
    def test_from_the_layout_where_it_has_some(self, layout, cut):
        for source in layout.sources():
            if not has_coarse(layout):
                with pytest.raises(DataError, match="no coarse annotations of its own"):
                    records(layout, source, coarse=Coarse("layout"))
                continue
            for record in records(layout, source, **CUTS[cut], coarse=Coarse("layout")):
                assert record.coarse.dtype == np.uint8
                assert record.coarse.shape == (record.height, record.width)
                assert ((record.coarse < len(layout.classes)) | (record.coarse == 255)).all()

    @pytest.mark.parametrize("kind", [*WRITERS, "scenes"])
    def test_it_can_be_asked_for_beforehand(self, kind, tmp_path):
        name, write = WRITERS.get(kind, (kind, None))
        path = None if write is None else str(write(tmp_path / "data"))
        if has_coarse(open_layout(name, path)):
            assert open_layout(name, path, coarse=True).name == name
        else:
            with pytest.raises(DataError, match=f"layout {name} has no coarse annotations of its own"):
                open_layout(name, path, coarse=True)


@needs_data
class TestRealData:
    def test_camvid(self):
        layout = open_layout("camvid", str(Path(REAL) / "camvid"))
        sources = list(layout.sources())
        assert Counter(source.split for source in sources) == {"train": 367, "val": 101, "test": 233}
        assert sources[0].image_id == "train/0001TP_006690"
        total = np.zeros(256, np.int64)
        for source in sources[::100]:
            (record,) = records(layout, source)
            assert record.mask.shape == (360, 480)
            total += np.bincount(record.mask.ravel(), minlength=256)
        shares = total / total.sum()
        assert shares[12:255].sum() == 0
        assert 0 < shares[255] < 0.1
        assert shares[[1, 3]].min() > 0.1  # buildings and road

    def test_aerial_dubai(self):
        layout = open_layout("aerial_dubai", str(Path(REAL) / "dubai"))
        sources = list(layout.sources())
        assert Counter(source.split for source in sources) == {"train": 35, "val": 10, "test": 27}
        counts = Counter()
        for source in sources:
            with (Path(REAL) / "dubai" / source.image).open("rb") as file:
                size = codec.image_size(file.read(65536))  # the header: nothing is decoded
            counts[source.split] += len(list(windows(*size, (224, 224))))
        assert counts.total() == 1647
        assert counts["test"] == 324
        assert 0.1 < counts["val"] / counts.total() < 0.3

    def test_aerial_dubai_masks_with_and_without_a_palette(self):
        layout = open_layout("aerial_dubai", str(Path(REAL) / "dubai"))
        for wanted in ("Tile 1/image_part_002", "Tile 2/image_part_004", "Tile 4/image_part_001"):
            source = next(source for source in layout.sources() if source.image_id == wanted)
            found = records(layout, source, tile=(224, 224))
            counts = np.bincount(np.concatenate([record.mask.ravel() for record in found]), minlength=256)
            assert counts[6:255].sum() == 0
            assert counts[1] > 0.1 * counts.sum()  # bare land is everywhere
