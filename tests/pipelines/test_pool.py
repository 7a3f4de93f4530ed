import pickle

import numpy as np
import pyarrow as pa
import pytest
from layouts import write_folder
from pools import make_pool

from pipelines.masks import MaskReader
from pipelines.pool import PartReader, Pool
from pipelines.storage import open_storage
from weakseg import codec
from weakseg.datasets import open_layout
from weakseg.errors import DataError


@pytest.fixture
def pool(windows):
    return pickle.loads(pickle.dumps(windows[0]))  # nothing read yet


def of(windows, split):
    return [record for record in windows[1] if split is None or record.split == split]


@pytest.mark.parametrize("split", ["train", "val", "test", None])
def test_the_index_of_a_split_lists_its_images_in_order(windows, pool, split):
    index, expected = pool.index(split), of(windows, split)
    assert len(index) == len(expected) > 0
    assert isinstance(index.image_ids, pa.StringArray)
    assert index.image_ids.to_pylist() == [record.image_id for record in expected]
    assert index.heights.tolist() == [record.height for record in expected]
    assert index.widths.tolist() == [record.width for record in expected]
    assert index.heights.dtype == index.part.dtype == np.int32
    assert index.parts() == sorted(set(index.part.tolist()))
    assert pool.index(split) is index


def test_a_split_without_images_is_empty(tmp_path):
    layout = open_layout("folder", str(write_folder(tmp_path / "data")), splits={"val": 0.3})
    pool = make_pool(layout, tmp_path / "root")
    assert len(pool.index("test")) == 0
    assert pool.index("test").parts() == []


@pytest.mark.parametrize("split", ["train", "val", "test", None])
def test_the_images_of_the_parts_are_all_images_once(windows, pool, split):
    expected = of(windows, split)
    found = [image for part in pool.index(split).parts() for image in pool.images(part, split=split)]
    assert [image.index for image in found] == list(range(len(expected)))
    for image, record in zip(found, expected, strict=True):
        assert image.image_id == record.image_id
        np.testing.assert_array_equal(image.image, codec.decode_image(record.image))


def test_a_pool_that_is_not_there_says_so(tmp_path):
    with pytest.raises(DataError, match=r"pool abc is not prepared.*prepare"):
        _ = Pool(open_storage(tmp_path), "abc").manifest


def test_size_is_the_largest(pool):
    assert pool.size == (15, 20)


def test_a_row_group_is_read_once_while_it_fits(pool, monkeypatch):
    opened = []
    open_parquet = type(pool.storage).open_parquet

    def counted(storage, key):
        opened.append(key)
        return open_parquet(storage, key)

    monkeypatch.setattr(type(pool.storage), "open_parquet", counted)
    read = PartReader(pool, "images", "image")
    values = [read(0, row) for row in (0, 1, 2, 3, 0)]
    assert len(opened) == 1
    assert values[0] == values[4]
    read(0, 4)
    read(0, 0)
    assert len(opened) == 2
    small = PartReader(pool, "images", "image", cache_bytes=1)
    assert [small(0, row) for row in (0, 4, 0)] == [values[0], read(0, 4), values[0]]
    assert len(opened) == 5


def test_the_cache_stays_within_its_bound(pool):
    sizes = [len(image) for image in (PartReader(pool, "images", "image")(0, row) for row in range(8))]
    bound = 3 * max(sizes) * 4
    read = PartReader(pool, "images", "image", cache_bytes=bound)
    index = pool.index()
    for i in range(len(index)):
        read(int(index.part[i]), int(index.row[i]))
        assert sum(values.nbytes for values in read._groups.values()) == read._bytes <= bound
    assert len(read._groups) > 1


def test_a_pool_travels_light(windows):
    pool = windows[0]
    assert len(pool.index("train")) > 0
    assert len(pickle.dumps(pool)) < 1000
    assert pickle.loads(pickle.dumps(pool)).superpixels == pool.superpixels


def test_proportions_where_only_some_parts_have_masks(tmp_path):
    data = write_folder(tmp_path / "data", images=12)
    for mask in sorted((data / "masks").iterdir())[3:]:
        mask.unlink()
    pool = make_pool(open_layout("folder", str(data)), tmp_path / "root")
    masked = {f"shot {n}" for n in (0, 1, 10)}
    without = [part for part in pool.parts if not masked & set(MaskReader(pool).names(part))]
    assert without
    for split in ("train", "val", "test"):
        ids = pool.index(split).image_ids.to_pylist()
        assert (~np.isnan(pool.proportions(split))).all(1).tolist() == [image_id in masked for image_id in ids]
