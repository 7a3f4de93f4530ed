import hashlib
import threading

import numpy as np
import pyarrow as pa
import pytest
from layouts import write_folder
from PIL import Image
from pools import make_pool

from pipelines import manifest as manifest_module
from pipelines.pool import INDEX
from pipelines.storage import Folder as FolderStorage
from weakseg.datasets import Folder, Source, open_layout, records
from weakseg.errors import DataError


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data", split_files=True)


def test_the_manifest_says_what_is_in_the_pool(data, tmp_path):
    (data / "images" / "shot 2.png").write_bytes(b"")
    layout = open_layout("folder", str(data))
    pool = make_pool(layout, tmp_path / "root")
    content = pool.manifest
    made = [r for s in layout.sources() if s.image_id != "shot 2" for r in records(layout, s)]
    assert content["images"] == {"train": 5, "val": 2, "test": 2}
    assert content["masks"] == {"train": 5, "val": 2, "test": 1}
    assert content["quarantined"] == pool.quarantine().num_rows == 1
    assert content["height"] == [30, 30]
    assert content["width"] == [40, 40]
    assert content["rows"] == [3, 4, 2]
    assert content["content"] == hashlib.sha256(b"".join(bytes.fromhex(r.sha256) for r in made)).hexdigest()
    assert content["settings"] == {"size": None, "tile": None}
    assert pool.classes == layout.classes


def test_the_index_holds_every_image_in_order(data, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_module, "INDEX_ROWS", 50)
    pool = make_pool(open_layout("folder", str(data)), tmp_path / "root", tile=(8, 8))
    index = pool.storage.read_table(f"pools/{pool.digest}/index.parquet")
    assert index.schema == INDEX
    parts = [pool.storage.read_table(f"pools/{pool.digest}/images/part-{part:06d}.parquet") for part in pool.parts]
    images = pa.concat_tables(parts)
    assert index.num_rows == images.num_rows == 10 * 15
    for name in INDEX.names[:5]:
        assert index[name].to_pylist() == images[name].to_pylist()
    assert list(zip(index["part"].to_pylist(), index["row"].to_pylist(), strict=True)) == [
        (part, row) for part, rows in enumerate(pool.manifest["rows"]) for row in range(rows)
    ]


def test_parts_are_read_several_at_a_time(data, tmp_path, monkeypatch):
    """On S3 one after the other takes hours where there are tens of thousands."""
    read, together = FolderStorage.read_table, threading.Barrier(3)

    def meeting(self, key, **options):
        if "/images/" in key and "sha256" in options["columns"]:
            together.wait(timeout=20)
        return read(self, key, **options)

    monkeypatch.setattr(FolderStorage, "read_table", meeting)
    pool = make_pool(open_layout("folder", str(data)), tmp_path / "root")
    assert len(pool.parts) == 3


def test_sizes_range_over_all_images(tmp_path):
    data = write_folder(tmp_path / "data", images=9, size=(30, 40))
    write_folder(data / "more", images=1, size=(50, 20), masks=None)
    (data / "more" / "images" / "shot 0.png").rename(data / "images" / "zz.png")
    content = make_pool(open_layout("folder", str(data)), tmp_path / "root").manifest
    assert (content["height"], content["width"]) == ([30, 50], [20, 40])


def test_a_pool_without_one_image_is_an_error_and_not_done(data, tmp_path):
    for path in (data / "images").iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"not one of 10 images can be used; the first: images/shot 0") as raised:
        make_pool(open_layout("folder", str(data)), tmp_path / "root")
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "root").glob("pools/*/_SUCCESS"))


class Twice(Folder):
    """A layout that names two images alike: what cutting could do to `a@0,0.png` beside `a.png`."""

    def sources(self):
        found = list(super().sources())
        yield from found
        first = found[0]
        yield Source(first.image_id, first.split, first.group, found[-1].image, None)


def test_two_images_of_one_name_are_refused_by_both_files(data, tmp_path):
    layout = open_layout("folder", str(data))
    with pytest.raises(DataError, match=r"shot 0 is given twice, by images/shot 0\.png and by images/shot 9\.jpg"):
        make_pool(Twice(layout.files, layout.classes), tmp_path / "root")
    assert not list((tmp_path / "root").glob("pools/*/_SUCCESS"))


def test_masks_of_class_0_and_void_alone_are_refused_until_they_are_put_right(tmp_path):
    """The usual grey masks of 0 and 255: every score would be 1."""
    data = write_folder(tmp_path / "data", images=4)
    (data / "classes.yaml").write_text("classes: [{name: ground, color: '#000000'}, {name: crack, color: '#FF0000'}]\n")
    for file in (data / "masks").iterdir():
        file.unlink()

    def write_masks(foreground: int) -> list[int]:
        for image in (data / "images").iterdir():
            with Image.open(image) as opened:
                mask = np.zeros(opened.size[::-1], np.uint8)
            mask[:2] = foreground
            Image.fromarray(mask).save(data / "masks" / f"{image.stem}.tif")
        return [file.stat().st_size for file in sorted((data / "masks").iterdir())]

    sizes = write_masks(255)
    with pytest.raises(DataError, match="no mask holds any class but ground, .* void: save crack as 1"):
        make_pool(open_layout("folder", str(data)), tmp_path / "root")
    assert write_masks(1) == sizes  # so that it is the same pool by name
    assert sum(make_pool(open_layout("folder", str(data)), tmp_path / "root").manifest["masks"].values()) == 4
