import pickle

import numpy as np
import pytest
from layouts import write_folder
from pools import make_pool

from pipelines.masks import MaskReader
from weakseg.datasets import open_layout, records
from weakseg.errors import DataError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool in which the windows of one image have no mask."""
    folder = tmp_path_factory.mktemp("masks")
    layout = open_layout("folder", str(write_folder(folder / "data", split_files=True)))
    pool = make_pool(layout, folder / "root", tile=(15, 20))
    return pool, [record for source in layout.sources() for record in records(layout, source, tile=(15, 20))]


@pytest.mark.parametrize("cache_bytes", [0, 64 * 2**20])
def test_every_mask_is_found_by_its_image_in_any_order(made, cache_bytes):
    pool, expected = made
    reader = MaskReader(pool, cache_bytes=cache_bytes)
    for i in np.random.default_rng(0).permutation(len(expected)).tolist():
        if expected[i].mask is None:
            assert reader.find(expected[i].image_id) is None
        else:
            np.testing.assert_array_equal(reader.mask(expected[i].image_id), expected[i].mask)


def test_an_image_without_a_mask_is_named(made):
    pool, expected = made
    without = next(record.image_id for record in expected if record.mask is None)
    with pytest.raises(DataError, match=f"image {without} has no mask"):
        MaskReader(pool).mask(without)
    with pytest.raises(KeyError):
        MaskReader(pool).mask("nowhere")


def test_the_masks_of_a_part_come_in_order(made):
    pool, expected = made
    reader = MaskReader(pool)
    found = [(part, *pair) for part in pool.parts for pair in reader.part(part)]
    masked = [record for record in expected if record.mask is not None]
    assert [image_id for _, image_id, _ in found] == [record.image_id for record in masked]
    for (_, _, mask_HW), record in zip(found, masked, strict=True):
        np.testing.assert_array_equal(mask_HW, record.mask)


def test_how_many_masks_there_are(made):
    pool, expected = made
    reader = MaskReader(pool)
    for split in ("train", "val", "test"):
        assert reader.count(split) == sum(record.split == split and record.mask is not None for record in expected)
        assert reader.available(split)
    assert not reader.available("nowhere")


def test_a_pool_without_masks_has_none(tmp_path):
    pool = make_pool(open_layout("folder", str(write_folder(tmp_path / "data", masks=None))), tmp_path / "root")
    reader = MaskReader(pool)
    assert not reader.available("train")
    assert reader.find(pool.index("train").image_ids[0].as_py()) is None
    assert list(reader.part(0)) == []


def test_asked_in_the_pools_order_each_part_is_read_once(made, monkeypatch):
    pool, expected = made
    reads = []
    read_table = type(pool.storage).read_table

    def counted(self, key, **kwargs):
        reads.append(key)
        return read_table(self, key, **kwargs)

    monkeypatch.setattr(type(pool.storage), "read_table", counted)
    reader = MaskReader(pool, cache_bytes=1)
    for record in expected:
        reader.find(record.image_id)
    assert len(reads) == len(set(reads)) == len(pool.parts)


def test_a_reader_travels_without_its_cache(made):
    pool, expected = made
    reader = MaskReader(pool)
    reader.mask(expected[0].image_id)
    assert len(pickle.dumps(reader)) < 1000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader.find))(expected[0].image_id), expected[0].mask)
