from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakseg.supervision import label_errors, spread_labels


def _reference(points: np.ndarray, labels: np.ndarray, segments: np.ndarray) -> np.ndarray:
    said = {(int(y), int(x)): int(c) for (y, x), c in zip(points, labels, strict=True)}
    result = np.full(segments.shape, 255, np.uint8)
    for at in np.ndindex(*segments.shape):
        votes = Counter(c for point, c in said.items() if c != 255 and segments[point] == segments[at])
        best = votes.most_common(2)
        if at in said:
            result[at] = said[at]
        elif segments[at] >= 0 and best and (len(best) == 1 or best[0][1] > best[1][1]):
            result[at] = best[0][0]
    return result


@given(seed=st.integers(0, 2000), points=st.integers(0, 25), dtype=st.sampled_from([np.int64, np.float32, np.int32]))
def test_equals_the_reference(seed: int, points: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    segments = rng.integers(-1, 6, (7, 6)).astype(np.int32)
    yx = rng.integers(0, (7, 6), (points, 2)).astype(dtype)
    labels = rng.choice([0, 1, 2, 254, 255], points)
    found = spread_labels(yx, labels, segments)
    assert found.dtype == np.uint8
    assert np.array_equal(found, _reference(yx, labels, segments))


def test_by_hand() -> None:
    segments = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [-1, -1, 3, 3]])
    points = np.array([[0, 0], [0, 1], [0, 3], [1, 0], [1, 3], [2, 2], [3, 0]])
    labels = np.array([5, 5, 6, 5, 6, 255, 7])
    assert spread_labels(points, labels, segments).tolist() == [
        [5, 5, 5, 6],  # the majority's, but the point of the other class stays
        [5, 255, 255, 6],  # a tie
        [255, 255, 255, 255],  # void spreads nothing
        [7, 255, 255, 255],  # padding is no segment
    ]


def test_a_void_pixel_stays_void_in_a_labelled_segment_and_the_last_answer_counts() -> None:
    segments = np.zeros((2, 3), np.uint16)
    points = np.array([[0, 0], [0, 1], [0, 0]])
    assert spread_labels(points, np.array([4, 255, 1]), segments).tolist() == [[1, 255, 1], [1, 1, 1]]


def test_segments_that_follow_the_truth_spread_nothing_wrongly() -> None:
    mask = np.kron(np.array([[0, 1], [2, 255]]), np.ones((4, 4))).astype(np.uint8)
    segments = np.kron(np.array([[9, 4], [0, 1]]), np.ones((4, 4))).astype(np.int32)
    points = np.array([[1, 1], [0, 6], [7, 0], [5, 5]])
    found = spread_labels(points, mask[points[:, 0], points[:, 1]], segments)
    assert np.array_equal(found, mask)
    assert label_errors(found, mask) == (0, 48)


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        ([[0, 3]], [1], "y=0, x=3 lies outside the segments of 2x3"),
        ([[-1, 0]], [1], "outside"),
        ([[0.5, 0]], [1], "whole numbers"),
        ([[0, 0]], [256], "classes 0..254"),
        ([[0, 0]], [-1], "classes 0..254"),
        ([[0, 0]], [1, 2], "one integer label per point"),
        ([[0, 0]], [1.0], "integer label"),
        ([0, 0], [1], r"points \(N, 2\)"),
    ],
)
def test_refuses(points: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spread_labels(np.array(points), np.array(labels), np.zeros((2, 3), int))
