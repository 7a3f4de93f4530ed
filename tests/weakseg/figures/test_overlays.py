import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakseg.datasets.classes import Classes
from weakseg.figures import draw_points, legend, overlay, panel

CLASSES = Classes(("road", "water", "Bäume $x$"), ((90, 90, 90), (0, 0, 255), (255, 255, 255)))


def slow_overlay(image, mask, colors, alpha):
    result = image.astype(np.float64)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x] != 255:
                result[y, x] = (1 - alpha) * result[y, x] + alpha * np.array(colors[mask[y, x]])
    return result


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_overlay_mixes_colours_and_leaves_void(alpha: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (7, 9, 3), np.uint8)
    mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), (7, 9))
    before = image.copy()
    result = overlay(image, mask, CLASSES.colors, alpha=alpha)
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result, slow_overlay(image, mask, CLASSES.colors, alpha), atol=0.51)
    np.testing.assert_array_equal(result[mask == 255], image[mask == 255])
    np.testing.assert_array_equal(image, before)


def test_overlay_refuses_what_does_not_fit() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"size \(4, 5\), got \(5, 4\)"):
        overlay(image, np.zeros((5, 4), np.uint8), CLASSES.colors)
    with pytest.raises(ValueError, match=r"0\.\.2 or 255 for void, got \[3\]"):
        overlay(image, np.full((4, 5), 3, np.uint8), CLASSES.colors)
    with pytest.raises(ValueError, match="alpha"):
        overlay(image, np.zeros((4, 5), np.uint8), CLASSES.colors, alpha=1.5)
    with pytest.raises(ValueError, match="uint8"):
        overlay(image.astype(np.float32), np.zeros((4, 5), np.uint8), CLASSES.colors)


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (0, 0, 255)])
@pytest.mark.parametrize("label", [0, 1, 2, 255])
def test_a_dot_has_its_colour_and_a_ring_seen_on_every_ground(ground: tuple[int, int, int], label: int) -> None:
    image = np.full((41, 41, 3), ground, np.uint8)
    result = draw_points(image, np.array([[20, 20]]), np.array([label]), CLASSES.colors, radius=6.0).astype(int)
    # From the centre outwards: the class, a white ring, a black ring, the ground.
    expected = (140, 140, 140) if label == 255 else CLASSES.colors[label]
    assert tuple(result[20, 24]) == expected
    assert tuple(result[20, 20]) == ((255, 255, 255) if label == 255 else expected)
    assert tuple(result[20, 27]) == (255, 255, 255)
    assert tuple(result[20, 29]) == (0, 0, 0)
    assert tuple(result[20, 32]) == ground
    contrast = np.abs(result - np.array(ground)).sum(2).max()
    assert contrast > 300
    np.testing.assert_array_equal(result, result.transpose(1, 0, 2))


@given(y=st.floats(-30, 60), x=st.floats(-30, 60), radius=st.floats(0.5, 9))
def test_dots_stay_near_their_point(y: float, x: float, radius: float) -> None:
    image = np.full((20, 30, 3), 77, np.uint8)
    result = draw_points(image, np.array([[y, x]]), np.array([1]), CLASSES.colors, radius=radius)
    rows, columns = np.nonzero((result != 77).any(2))
    reach = radius + 2 * max(1.0, radius / 3) + 0.5
    assert (np.hypot(rows - y, columns - x) <= reach).all()


def test_points_and_labels_must_fit() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(ValueError, match="2 points and 1 labels"):
        draw_points(image, np.zeros((2, 2)), np.zeros(1, int), CLASSES.colors)
    with pytest.raises(ValueError, match=r"got \[7\]"):
        draw_points(image, np.zeros((1, 2)), np.array([7]), CLASSES.colors)
    with pytest.raises(ValueError, match="radius"):
        draw_points(image, np.zeros((1, 2)), np.array([0]), CLASSES.colors, radius=0)


def test_no_points_change_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    np.testing.assert_array_equal(draw_points(image, np.zeros((0, 2)), np.zeros(0, int), CLASSES.colors), image)


def test_legend_shows_every_colour_and_breaks_lines() -> None:
    wide, narrow = legend(CLASSES, width=600), legend(CLASSES, width=120)
    for picture, width in ((wide, 600), (narrow, 120)):
        assert picture.shape[1] == width
        for color in CLASSES.colors:
            assert (picture == np.array(color)).all(2).sum() > 60
    assert narrow.shape[0] > wide.shape[0]


@pytest.mark.parametrize(("truth", "tiles"), [(True, 3), (False, 2)])
def test_panel_sets_its_tiles_side_by_side(truth: bool, tiles: int) -> None:
    image = np.full((48, 64, 3), 10, np.uint8)
    mask, prediction = np.zeros((48, 64), np.uint8), np.ones((48, 64), np.uint8)
    points = np.array([[0, 0], [47, 63]]), np.array([1, 255])
    result = panel(image, mask if truth else None, prediction, points, CLASSES)
    # 64 columns are enlarged five times, with 12 pixels between and around.
    assert result.shape[1] == 12 + tiles * (320 + 12)
    assert result.dtype == np.uint8
    painted = np.rint(0.45 * 10 + 0.55 * np.array(CLASSES.colors[1]))
    np.testing.assert_array_equal(result[150, -172], painted)
    if truth:
        np.testing.assert_array_equal(result[150, 12 + 332 + 160], np.rint(0.45 * 10 + 0.55 * np.array([90, 90, 90])))


def test_panel_draws_points_at_the_centre_of_enlarged_pixels() -> None:
    image = np.full((48, 64, 3), 10, np.uint8)
    prediction = np.zeros((48, 64), np.uint8)
    without = panel(image, None, prediction, None, CLASSES)
    result = panel(image, None, prediction, (np.array([[20, 30]]), np.array([1])), CLASSES)
    rows, columns = np.nonzero((result[60:250, :332] != without[60:250, :332]).any(2))
    head = 6 + round(15 * 1.7)
    assert rows.mean() + 60 == pytest.approx(head + 20 * 5 + 2)
    assert columns.mean() == pytest.approx(12 + 30 * 5 + 2)
