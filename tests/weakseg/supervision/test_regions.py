import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakseg.errors import DataError
from weakseg.schema import LABELS
from weakseg.supervision import PointIndex, RegionIndex, paint


def _labels(*rows: tuple, kind: str = "region") -> pa.Table:
    """Rows (image, segment, class), each pointing somewhere else."""
    table = [
        {"answer_id": f"answer{n}", "image_id": i, "kind": kind, "y": n, "x": n, "segment": s, "class_id": c}
        for n, (i, s, c) in enumerate(rows)
    ]
    return pa.Table.from_pylist(table, schema=LABELS)


rows = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.sampled_from([0, 1, 255])), max_size=25)


@given(rows)
def test_last_answer_per_segment_wins(rows: list) -> None:
    expected = {(image, segment): c for image, segment, c in rows}
    index = RegionIndex(list("cab"), _labels(*rows))
    assert len(index) == 3
    for i, image in enumerate("cab"):
        mine = {segment: c for (other, segment), c in sorted(expected.items()) if other == image}
        assert index.asked(i).tolist() == list(mine)
        segments, classes = index.regions(i)
        assert (segments.dtype, classes.dtype) == (np.int64, np.int64)
        found = dict(zip(segments.tolist(), classes.tolist(), strict=True))
        assert found == {segment: c for segment, c in mine.items() if c != 255}
    counts = [list(expected.values()).count(c) for c in (0, 1)]
    assert index.histogram(1).tolist() == counts
    image, segment = np.divmod(np.arange(18), 6)
    assert index.was_asked(image, segment).tolist() == [
        ("cab"[i], s) in expected for i, s in zip(image.tolist(), segment.tolist(), strict=True)
    ]


def test_only_regions_are_regions() -> None:
    both = pa.concat_tables([_labels(("a", 3, 1)), _labels(("a", 4, 0), kind="pixel")])
    assert RegionIndex(["a"], both).asked(0).tolist() == [3]
    assert PointIndex(["a"], both).asked(0).tolist() == [[0, 0]]


def test_no_labels() -> None:
    index = RegionIndex(["a"], LABELS.empty_table())
    assert index.regions(0)[0].shape == (0,)
    assert index.was_asked([0, 0], [1, 2]).tolist() == [False, False]
    assert index.was_asked([], []).shape == (0,)
    assert len(RegionIndex([], LABELS.empty_table())) == 0


def test_refuses() -> None:
    with pytest.raises(ValueError, match="duplicates"):
        RegionIndex(["a", "a"], LABELS.empty_table())
    with pytest.raises(DataError, match="no segment"):
        RegionIndex(["a"], _labels(("a", None, 1)))
    with pytest.raises(DataError, match=r"1 image\(s\).*'z'"):
        RegionIndex(["a"], _labels(("z", 2, 1)))
    assert RegionIndex(["a"], _labels(("z", 2, 1)), subset=True).asked(0).tolist() == []
    index = RegionIndex(["a"], _labels(("a", 1, 5)))
    for i in (-1, 1):
        with pytest.raises(IndexError, match=r"0\.\.0"):
            index.regions(i)
    with pytest.raises(DataError, match="class 5"):
        index.histogram(3)
    with pytest.raises(ValueError, match="one segment per image index"):
        index.was_asked([0, 0], [1])


def test_travels_small_and_is_never_written_to() -> None:
    rng = np.random.default_rng(0)
    ids = [f"train/{n:04d}" for n in range(200)]
    rows = [(image, int(s), int(s) % 11) for image in ids for s in rng.choice(500, 20, replace=False)]
    index = RegionIndex(ids, _labels(*[rows[n] for n in rng.permutation(len(rows))]))
    buffers: list[pickle.PickleBuffer] = []
    header = pickle.dumps(index, protocol=5, buffer_callback=buffers.append)
    assert len(header) < 2000
    assert sum(len(buffer.raw()) for buffer in buffers) <= 6 * len(rows) + 8 * (len(ids) + 1)
    shared = pickle.loads(header, buffers=[bytes(buffer.raw()) for buffer in buffers])
    segments, classes = shared.regions(17)
    assert segments.tolist() == sorted(s for image, s, _ in rows if image == ids[17])
    assert np.array_equal(classes, segments % 11)
    segments += 1
    classes += 1


@given(ids=st.integers(1, 12), seed=st.integers(0, 1000), count=st.integers(0, 14))
def test_paint_equals_the_reference(ids: int, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    segments = rng.integers(-1, ids, (5, 7))
    labelled = rng.permutation(14)[:count]  # some of them in no pixel, as after a crop
    classes = rng.choice([0, 3, 254, 255], count)
    found = paint(segments, labelled, classes)
    assert found.dtype == np.uint8
    assert found.shape == (5, 7)
    known = dict(zip(labelled.tolist(), classes.tolist(), strict=True))
    for y, x in np.ndindex(5, 7):
        assert found[y, x] == known.get(int(segments[y, x]), 255)
    assert np.array_equal(paint((segments + 1).astype(np.uint16), labelled + 1, classes), found)


def test_paint_and_crop_commute() -> None:
    segments = np.arange(48).reshape(6, 8) // 5
    labelled, classes = np.array([0, 4, 8]), np.array([2, 1, 0])
    assert np.array_equal(paint(segments[:3, 2:], labelled, classes), paint(segments, labelled, classes)[:3, 2:])


def test_paint_without_labels_is_all_unlabelled() -> None:
    assert (paint(np.zeros((2, 3), np.int32), np.array([], int), np.array([], int)) == 255).all()
    assert (paint(np.zeros((2, 3), np.int32), [], []) == 255).all()


@pytest.mark.parametrize(
    ("segments", "labelled", "classes", "message"),
    [
        (np.zeros((2, 2)), [0], [1], "integer segments"),
        (np.zeros(4, int), [0], [1], "integer segments"),
        (np.full((2, 2), -2), [0], [1], "from -1"),
        (np.zeros((2, 2), int), [0, 0], [1, 2], "every segment id once"),
        (np.zeros((2, 2), int), [-1], [1], "every segment id once"),
        (np.zeros((2, 2), int), [0], [256], r"classes 0\.\.255, got 256"),
        (np.zeros((2, 2), int), [0], [1, 2], "one class per segment"),
        (np.zeros((2, 2), int), [0.0], [1], "integer segments and classes, got float64 and int64"),
        (np.zeros((2, 2), int), [0], [1.7], "integer segments and classes, got int64 and float64"),
    ],
)
def test_paint_refuses(segments: np.ndarray, labelled: list, classes: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paint(segments, labelled, classes)
