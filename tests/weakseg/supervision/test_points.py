import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.errors import DataError
from weakseg.schema import LABELS
from weakseg.supervision import PointIndex, current


def _labels(*rows: tuple, **columns: list) -> pa.Table:
    """Rows (image, y, x, class), with other columns by name."""
    table = [
        {"answer_id": f"answer{n}", "image_id": i, "kind": "pixel", "y": y, "x": x, "class_id": c, "round": n}
        for n, (i, y, x, c) in enumerate(rows)
    ]
    for name, values in columns.items():
        for row, value in zip(table, values, strict=True):
            row[name] = value
    return pa.Table.from_pylist(table, schema=LABELS)


def test_points_and_asked() -> None:
    index = PointIndex(["a", "b", "c"], _labels(("c", 5, 6, 1), ("a", 9, 0, 2), ("c", 1, 2, 255), ("c", 1, 1, 0)))
    assert len(index) == 3
    points, labels = index.points(2)
    assert (points.dtype, labels.dtype) == (np.float32, np.int64)
    assert points.tolist() == [[1, 1], [5, 6]]
    assert labels.tolist() == [0, 1]
    points, labels = index.points(2, void=True)
    assert (points.tolist(), labels.tolist()) == ([[1, 1], [1, 2], [5, 6]], [0, 255, 1])
    assert index.asked(2).dtype == np.int64
    assert index.asked(2).tolist() == [[1, 1], [1, 2], [5, 6]]
    assert index.points(1)[0].shape == (0, 2)
    assert index.asked(1).shape == (0, 2)
    assert index.histogram(4).tolist() == [1, 1, 1, 0]


def test_no_labels_and_no_images() -> None:
    index = PointIndex(["a"], LABELS.empty_table())
    assert index.points(0)[0].shape == (0, 2)
    assert index.histogram(3).tolist() == [0, 0, 0]
    assert len(PointIndex([], LABELS.empty_table())) == 0


def test_only_pixels_are_points() -> None:
    labels = _labels(("a", 1, 1, 0), ("a", 2, 2, 1), kind=["region", "pixel"])
    assert PointIndex(["a"], labels).asked(0).tolist() == [[2, 2]]


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 2), st.sampled_from([0, 1, 255])), max_size=25
)


@settings(max_examples=80, deadline=None)
@given(rows)
def test_last_answer_per_pixel_wins(rows: list) -> None:
    expected = {(i, y, x): c for i, y, x, c in rows}
    resolved = current(_labels(*rows)).to_pylist()
    assert {(r["image_id"], r["y"], r["x"]): r["class_id"] for r in resolved} == expected
    assert len(resolved) == len(expected)
    assert [r["round"] for r in resolved] == sorted(r["round"] for r in resolved)
    index = PointIndex(list("cab"), _labels(*rows))
    for i, image in enumerate("cab"):
        mine = {(y, x): c for (j, y, x), c in expected.items() if j == image}
        assert [tuple(p) for p in index.asked(i).tolist()] == sorted(mine)
        points, classes = index.points(i)
        found = {(int(y), int(x)): c for (y, x), c in zip(points.tolist(), classes.tolist(), strict=True)}
        assert found == {p: c for p, c in mine.items() if c != 255}


def test_chunks_do_not_matter() -> None:
    rows = [("a", 1, 1, 0), ("b", 2, 2, 1), ("a", 1, 1, 2)]
    whole = _labels(*rows)
    parts = pa.concat_tables([whole.slice(n, 1) for n in range(3)])
    assert current(parts).to_pylist() == current(whole).to_pylist()
    assert PointIndex(["a", "b"], parts).class_id.tolist() == [2, 1]


def test_labels_of_other_images() -> None:
    labels = _labels(("a", 1, 1, 0), ("z", 2, 2, 1))
    with pytest.raises(DataError, match=r"1 image\(s\).*'z'"):
        PointIndex(["a"], labels)
    assert PointIndex(["a"], labels, subset=True).asked(0).tolist() == [[1, 1]]


def test_refuses_duplicates_missing_positions_and_indices() -> None:
    with pytest.raises(ValueError, match="duplicates"):
        PointIndex(["a", "a"], LABELS.empty_table())
    with pytest.raises(DataError, match="no y or x"):
        PointIndex(["a"], _labels(("a", None, 1, 0)))
    index = PointIndex(["a"], _labels(("a", 1, 1, 5)))
    for i in (-1, 1):
        with pytest.raises(IndexError, match=r"0\.\.0"):
            index.points(i)
    with pytest.raises(DataError, match="class 5"):
        index.histogram(3)


def test_travels_small_and_out_of_band() -> None:
    images, per_image = 1000, 200
    rng = np.random.default_rng(0)
    ids = [f"train/{n:06d}" for n in range(images)]
    flat = np.concatenate([rng.choice(360 * 480, per_image, replace=False) for _ in ids])
    count = flat.size
    columns = {name: pa.nulls(count, LABELS.field(name).type) for name in LABELS.names}
    columns |= {
        "answer_id": pa.array([str(n) for n in range(count)]),
        "image_id": pa.array(np.repeat(ids, per_image)),
        "kind": pa.repeat("pixel", count),
        "y": pa.array((flat // 480).astype(np.int32)),
        "x": pa.array((flat % 480).astype(np.int32)),
        "class_id": pa.array((flat % 11).astype(np.int16)),
    }
    index = PointIndex(ids, pa.table(columns, schema=LABELS).take(pa.array(rng.permutation(count))))
    buffers: list[pickle.PickleBuffer] = []
    header = pickle.dumps(index, protocol=5, buffer_callback=buffers.append)
    assert len(header) < 2000
    assert sum(len(buffer.raw()) for buffer in buffers) <= 10 * count + 8 * (images + 1)
    # As from shared memory, where nothing can be written.
    shared = pickle.loads(header, buffers=[bytes(buffer.raw()) for buffer in buffers])
    points, labels = shared.points(17)
    mine = np.sort(flat[17 * per_image : 18 * per_image])
    assert np.array_equal(points[:, 0] * 480 + points[:, 1], mine)
    assert np.array_equal(labels, mine % 11)
    points += 1
    labels += 1
