import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakseg.supervision import keypoints_from_points, sample_keypoints


def reference(points: np.ndarray, labels: np.ndarray, size: tuple[int, int], radius: float) -> np.ndarray:
    """Pixel by pixel: the nearest point within the radius, the later of equally near ones."""
    result = np.full(size, 255)
    for y, x in np.ndindex(size):
        best = np.inf
        for (v, u), label in zip(points, labels, strict=True):
            distance = (y - v) ** 2 + (x - u) ** 2
            own = (y, x) == (int(np.floor(v + 0.5)), int(np.floor(u + 0.5)))
            if (distance <= radius**2 or own) and distance <= best:
                best, result[y, x] = distance, label
    return result


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.lists(st.tuples(st.floats(0, 0.999), st.floats(0, 0.999), st.sampled_from([0, 1, 2, 255])), max_size=6),
    st.sampled_from([0, 0.4, 1, 1.5, 2, 3.7]),
    st.booleans(),
)
def test_the_nearest_point_decides(height: int, width: int, drawn: list, radius: float, whole: bool) -> None:
    places = np.array([row[:2] for row in drawn]).reshape(-1, 2)
    points = places * (height, width) - (0 if whole else 0.5)
    points = np.floor(points) if whole else points
    labels = np.array([row[2] for row in drawn], np.int64)
    found = keypoints_from_points(points, labels, (height, width), radius=radius)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, reference(points, labels, (height, width), radius))


def test_a_disc_and_an_overlap() -> None:
    assert keypoints_from_points([(2, 2)], [7], (5, 5), radius=2).tolist() == [
        [255, 255, 7, 255, 255],
        [255, 7, 7, 7, 255],
        [7, 7, 7, 7, 7],
        [255, 7, 7, 7, 255],
        [255, 255, 7, 255, 255],
    ]
    # The middle is as near to both: the later has it. Void takes its surroundings away.
    assert keypoints_from_points([(0, 0), (0, 4)], [1, 2], (1, 5), radius=2).tolist() == [[1, 1, 2, 2, 2]]
    assert keypoints_from_points([(0, 0), (0, 4)], [1, 255], (1, 5), radius=2).tolist() == [[1, 1, 255, 255, 255]]
    assert keypoints_from_points([(0, 1), (0, 1)], [1, 2], (1, 2), radius=0).tolist() == [[255, 2]]
    assert (keypoints_from_points(np.zeros((0, 2)), [], (2, 3), radius=4) == 255).all()


@pytest.mark.parametrize("point", [(-1, 0), (0, 5), (4, 0), (-0.6, 0), (0, 4.5)])
def test_points_outside_the_image_are_refused(point: tuple[float, float]) -> None:
    keypoints_from_points([(-0.5, 4.4)], [0], (4, 5), radius=1)
    with pytest.raises(ValueError, match=rf"y={point[0]:g}, x={point[1]:g} lies outside the image of 4x5 \(1 of 2 do"):
        keypoints_from_points([(0, 0), point], [0, 1], (4, 5), radius=1)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2,\)"):
        keypoints_from_points(np.zeros((2, 3)), [0, 0], (4, 4), radius=1)
    with pytest.raises(ValueError, match=r"labels in 0\.\.255, got -1\.\.0"):
        keypoints_from_points(np.zeros((2, 2)), [0, -1], (4, 4), radius=1)
    with pytest.raises(ValueError, match="integer labels, got float64"):
        keypoints_from_points(np.zeros((1, 2)), [0.7], (4, 4), radius=1)
    mask, rng = np.zeros((4, 4), np.uint8), np.random.default_rng(0)
    for radius in (-1, np.inf, np.nan):
        with pytest.raises(ValueError, match="radius"):
            keypoints_from_points(np.zeros((2, 2)), [0, 0], (4, 4), radius=radius)
        with pytest.raises(ValueError, match="radius"):
            sample_keypoints(mask, 1, radius=radius, rng=rng)
    with pytest.raises(ValueError, match="per_class >= 1"):
        sample_keypoints(mask, 0, radius=1, rng=rng)
    with pytest.raises(ValueError, match="expected a mask"):
        sample_keypoints(mask.astype(float), 1, radius=1, rng=rng)
    with pytest.raises(ValueError, match=r"0\.\.255, got 0\.\.300"):
        sample_keypoints(np.array([[0, 300]]), 1, radius=1, rng=rng)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = rng.choice([0, 1, 4, 255], (draw(st.integers(1, 4)), draw(st.integers(1, 4))))
    return mask.astype(np.uint8).repeat(draw(st.integers(1, 4)), axis=0).repeat(draw(st.integers(1, 4)), axis=1)


@given(masks(), st.integers(1, 5), st.sampled_from([0, 1, 2.5]), st.integers(0, 2**32))
def test_keypoints_are_of_their_class(mask: np.ndarray, per_class: int, radius: float, seed: int) -> None:
    labels = sample_keypoints(mask, per_class, radius=radius, rng=np.random.default_rng(seed))
    assert (labels.dtype, labels.shape) == (np.uint8, mask.shape)
    labelled = labels != 255
    np.testing.assert_array_equal(labels[labelled], mask[labelled])
    assert not labelled[mask == 255].any()
    y, x = np.mgrid[-3:4, -3:4]
    disc = (y**2 + x**2 <= radius**2).sum()
    for class_id in set(mask.ravel().tolist()) - {255}:
        available = (mask == class_id).sum()
        count = (labels == class_id).sum()
        assert min(per_class, available) <= count <= min(per_class * disc, available)
        if radius == 0:
            assert count == min(per_class, available)
    again = sample_keypoints(mask, per_class, radius=radius, rng=np.random.default_rng(seed))
    assert np.array_equal(labels, again)


def test_a_disc_is_cut_at_the_edge_of_its_class() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[:, 5:] = 1
    for seed in range(20):
        labels = sample_keypoints(mask, 1, radius=20, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(labels, mask)


def test_centres_are_uniform_over_the_class() -> None:
    mask = np.full((2, 4), 255, np.uint8)
    mask[0] = 3
    rng = np.random.default_rng(0)
    hits = sum((sample_keypoints(mask, 1, radius=0, rng=rng) == 3).astype(int) for _ in range(2000))
    assert hits[1].sum() == 0
    assert hits[0].sum() == 2000
    assert (abs(hits[0] - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()
