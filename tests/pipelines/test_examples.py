"""Training's view of a split: images joined with points, masks and superpixels, read in blocks."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from layouts import write_folder
from pools import make_pool

from pipelines.bring import Bring
from pipelines.examples import PoolExamples
from pipelines.masks import MaskReader
from pipelines.pool import PartReader, Pool
from weakseg import codec
from weakseg.datasets import open_layout
from weakseg.schema import LABELS
from weakseg.supervision import PointIndex


@pytest.fixture
def pool(windows):
    return pickle.loads(pickle.dumps(windows[0]))  # nothing read yet


def labels_of(image_ids):
    rows = [
        {"answer_id": f"{i}-{k}", "image_id": image_id, "round": 0, "kind": "pixel", "y": i % 15, "x": k, "class_id": k}
        for i, image_id in enumerate(image_ids)
        for k in range(i % 3)
    ]
    return pa.Table.from_pylist(rows, schema=LABELS)


def test_examples_join_images_points_masks_and_segments(windows, pool):
    expected = [record for record in windows[1] if record.split == "train"]
    ids = pool.index("train").image_ids
    points = PointIndex(ids, labels_of(ids.to_pylist()))
    examples = pickle.loads(
        pickle.dumps(PoolExamples(pool, "train", points=points, complete=Bring(masks=MaskReader(pool)), segments=True))
    )
    assert len(examples) == len(expected)
    read_segments = PartReader(pool, pool.superpixels, "segments")
    for i in np.random.default_rng(0).permutation(len(expected)).tolist():
        example, record = examples[i], expected[i]
        assert example.image_id == record.image_id
        np.testing.assert_array_equal(example.image_HW3, codec.decode_image(record.image))
        np.testing.assert_array_equal(example.points_N2, [(i % 15, k) for k in range(i % 3)] or np.zeros((0, 2)))
        assert example.labels_N.tolist() == list(range(i % 3))
        if record.mask is None:
            assert example.mask_HW is None
        else:
            np.testing.assert_array_equal(example.mask_HW, record.mask)
        index = pool.index("train")
        stored = codec.decode_segments(read_segments(int(index.part[i]), int(index.row[i])))
        np.testing.assert_array_equal(example.segments_HW, stored)
    for beyond in (len(expected), -1):
        with pytest.raises(IndexError):
            examples[beyond]


def test_what_was_not_asked_for_is_not_there(pool):
    example = PoolExamples(pool, "train")[0]
    assert example.points_N2.shape == (0, 2)
    assert example.labels_N.shape == (0,)
    assert example.mask_HW is None
    assert example.segments_HW is None


def test_blocks_are_the_row_groups(pool):
    for split in ("train", "val", "test"):
        index = pool.index(split)
        blocks = PoolExamples(pool, split).block_sizes
        assert sum(blocks) == len(index)
        groups = list(zip(index.part.tolist(), (index.row // 4).tolist(), strict=True))
        start = 0
        seen = []
        for size in blocks:
            (group,) = set(groups[start : start + size])
            seen.append(group)
            start += size
        assert len(set(seen)) == len(seen)


def test_points_of_another_split_are_refused(pool):
    ids = pool.index("val").image_ids
    with pytest.raises(ValueError, match="points of"):
        PoolExamples(pool, "train", points=PointIndex(ids, LABELS.empty_table()))


def test_superpixels_that_were_not_made_are_refused(pool):
    with pytest.raises(ValueError, match=r"superpixels\.segments"):
        PoolExamples(Pool(pool.storage, pool.digest), "train", segments=True)


def test_a_split_without_images_has_no_blocks(tmp_path):
    layout = open_layout("folder", str(write_folder(tmp_path / "data")), splits={"val": 0.3})
    assert PoolExamples(make_pool(layout, tmp_path / "root"), "test").block_sizes == []
