import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from weakseg.datasets.scene_plan import BUILDING, LAND, ROAD, TREE, WATER, draw_plan, noise


def plan(number, size=(144, 192)):
    return draw_plan(*size, np.random.default_rng(number))


@given(st.integers(2, 40), st.integers(2, 40), st.floats(1.5, 60))
@settings(max_examples=30, deadline=None)
def test_noise_is_the_spline_over_the_random_grid(height, width, length):
    found = noise(np.random.default_rng(0), height, width, length)[0]
    step = length * min(height, width) / 144
    rows, columns = (int((size - 1) / step) + 4 for size in (height, width))
    grid = np.random.default_rng(0).standard_normal((1, rows, columns), dtype=np.float32)[0]

    def spline(coefficients, size):
        knots = np.arange(-3, len(coefficients) + 1)
        return BSpline(knots, coefficients, 3)(np.arange(size) / step)

    expected = spline(spline(grid, height).T, width).T / 0.479
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_noise_has_unit_spread_and_independent_maps():
    maps = noise(np.random.default_rng(1), 144, 192, 3.0, 40)
    assert maps.shape == (40, 144, 192)
    assert maps.std() == pytest.approx(1, abs=0.05)
    assert abs(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]) < 0.1


def test_maps_agree_with_the_classes():
    for number in range(12):
        drawn = plan(number)
        classes = drawn.classes_HW
        assert set(np.unique(classes)) <= set(range(6))
        assert (drawn.depth_HW[classes == WATER] > 0).all()
        assert (drawn.crown_HW[classes == TREE] > 0).all()
        assert (drawn.crown_HW[classes != TREE] == 0).all()
        assert (drawn.depth_HW[classes == BUILDING] < 0).all()
        assert (drawn.depth_HW[np.isin(classes, [LAND, TREE])] <= 0).all()
        assert drawn.parcel_HW.max() < drawn.parcels
        assert 0 <= drawn.roof_HW.min()
        assert drawn.roof_HW.max() < drawn.roofs
        assert set(np.unique(drawn.shade_HW)) <= {0, 1}


def test_houses_stand_apart_from_roads_that_are_wide():
    drawn = plan(3)
    assert (drawn.lane_HW[drawn.classes_HW == BUILDING] > 6).all()
    assert (drawn.classes_HW == ROAD).any()


def test_outlines_are_irregular():
    """A straight border would let whole rows or columns of neighbouring pixels change class together."""
    for number in range(6):
        classes = plan(number).classes_HW
        changes = (classes[:, 1:] != classes[:, :-1]).mean(0)
        assert changes.max() < 0.8
