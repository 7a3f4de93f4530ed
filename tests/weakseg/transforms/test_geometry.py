from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.transforms import Window, place, warp_image, warp_map, warp_points, warp_sparse

SIZES = st.tuples(st.integers(6, 24), st.integers(6, 24))


@st.composite
def windows(draw, old=SIZES):
    unit = st.floats(0, 1, exclude_max=True)
    return place(
        draw(old),
        draw(SIZES),
        scale=draw(st.floats(0.5, 2.0)),
        down=draw(unit),
        across=draw(unit),
        flip=draw(st.booleans()),
    )


@given(windows())
@settings(deadline=None)
def test_a_view_lies_inside_a_larger_image_and_around_a_smaller_one(window):
    top, left, bottom, right = window.content
    for low, high, size, new in (
        (top, bottom, window.size[0], window.new[0]),
        (left, right, window.size[1], window.new[1]),
    ):
        assert 0 <= low < high <= size
        assert high - low == min(size, new)


@pytest.mark.parametrize(("size", "expected"), [(4, {0, 1, 2, 3, 4}), (12, {-4, -3, -2, -1, 0}), (8, {0})])
def test_every_offset_can_be_drawn(size, expected):
    tops = {place((8, 8), (size, 8), scale=1.0, down=d, across=0.0, flip=False).top for d in np.linspace(0, 0.999, 200)}
    assert tops == expected


@given(windows(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_maps_take_the_pixel_under_each_centre(window, seed):
    source = np.random.default_rng(seed).integers(0, 200, window.old, dtype=np.int32)
    expected = np.full(window.size, -1, np.int32)
    for y in range(window.size[0]):
        for x in range(window.size[1]):
            seen = (y + window.top, (window.size[1] - 1 - x if window.flip else x) + window.left)
            if all(0 <= s < n for s, n in zip(seen, window.new, strict=True)):
                at = [
                    int((s + Fraction(1, 2)) * Fraction(o, n))
                    for s, o, n in zip(seen, window.old, window.new, strict=True)
                ]
                expected[y, x] = source[at[0], at[1]]
    np.testing.assert_array_equal(warp_map(torch.from_numpy(source), window, fill=-1).numpy(), expected)


def _read(map_HW, y, x):
    """Bilinear value at a float position that lies between pixel centres."""
    top, left = int(np.floor(y)), int(np.floor(x))
    down, across = y - top, x - left
    rows = map_HW[top] * (1 - down) + (map_HW[top + 1] * down if down else 0)
    return rows[left] * (1 - across) + (rows[left + 1] * across if across else 0)


@given(windows(), st.data())
@settings(deadline=None)
def test_a_point_lands_where_its_pixel_lands(window, data):
    # ramps in y and x: bilinear interpolation keeps them, so the warped image tells where each place came from
    steps = [np.arange(n) * (255 // (n - 1)) for n in window.old]
    ramps = np.stack([*np.meshgrid(*steps, indexing="ij"), np.zeros(window.old)]).astype(np.uint8)
    y, x = (data.draw(st.integers(2, n - 3)) for n in window.old)
    warped = warp_image(torch.from_numpy(ramps), window).double().numpy()
    points, kept = warp_points(torch.tensor([[y, x]], dtype=torch.float32), window)
    seen = [
        (c + 0.5) * n / o - 0.5 - t
        for c, n, o, t in zip((y, x), window.new, window.old, (window.top, window.left), strict=True)
    ]
    assert bool(kept) == all(-0.5 <= s < size - 0.5 for s, size in zip(seen, window.size, strict=True))
    if not kept:
        return
    top, left, bottom, right = window.content
    row, column = points[0, 0].item() - top, points[0, 1].item() - left
    if 0 <= row <= bottom - top - 1 and 0 <= column <= right - left - 1:
        for axis, (came, n) in enumerate(zip((y, x), window.old, strict=True)):
            step = 255 // (n - 1)
            # 1.5 grey levels: both passes of the resize round to uint8; an antialiased border bends the ramp a little
            assert _read(warped[axis], row, column) == pytest.approx(came * step, abs=1.5 + 0.05 * step)


@given(windows(), st.data())
@settings(deadline=None)
def test_a_coloured_dot_and_its_point_stay_together_when_enlarged(window, data):
    window = Window(window.old, tuple(2 * n for n in window.old), window.top, window.left, window.size, window.flip)
    y, x = (data.draw(st.integers(0, n - 1)) for n in window.old)
    source = torch.zeros(window.old, dtype=torch.uint8)
    source[y, x] = 1
    points, kept = warp_points(torch.tensor([[y, x]], dtype=torch.float32), window)
    dot = warp_map(source, window, fill=0).nonzero().double()
    if kept and len(dot) == 4:
        np.testing.assert_allclose(points[0].numpy(), dot.mean(dim=0).numpy())
    elif len(dot) == 4:
        pytest.fail("the point of a whole dot was dropped")
    elif len(dot) == 0:
        assert not kept


@given(st.integers(1, 9), st.integers(1, 9), st.data())
@settings(deadline=None)
def test_nothing_moves_without_a_change(height, width, data):
    window = place((height, width), (height, width), scale=1.0, down=0.7, across=0.3, flip=False)
    points = torch.tensor([[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))]]).float()
    moved, kept = warp_points(points, window)
    assert torch.equal(moved, points)
    assert kept.all()


def test_flipping_mirrors_the_centres():
    window = place((3, 5), (3, 5), scale=1.0, down=0, across=0, flip=True)
    moved, _ = warp_points(torch.tensor([[1.0, 0.0], [2.0, 3.5]]), window)
    assert moved.tolist() == [[1.0, 4.0], [2.0, 0.5]]


def test_points_outside_are_dropped_and_a_point_on_the_last_pixel_is_not():
    window = Window((4, 4), (4, 4), 1, 1, (2, 2), False)
    points = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 2.0], [2.49, 0.5], [2.5, 1.0], [3.0, 3.0]])
    moved, kept = warp_points(points, window)
    assert kept.tolist() == [False, True, True, True, False, False]
    assert moved[0].tolist() == [0.0, 0.0]


def test_no_points_stay_no_points():
    window = Window((4, 4), (4, 4), 0, 0, (2, 2), True)
    moved, kept = warp_points(torch.empty(0, 2), window)
    assert moved.shape == (0, 2)
    assert kept.shape == (0,)


@given(windows(), st.integers(0, 2), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_of_a_few_labelled_spots_none_vanishes(window, radius, random):
    height, width = window.old
    y, x = random.randrange(height), random.randrange(width)
    labels_HW = torch.full(window.old, 255, dtype=torch.uint8)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    labels_HW[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 7
    warped_HW = warp_sparse(labels_HW, window, none=255)
    plain_HW = warp_map(labels_HW, window, fill=255)
    assert torch.equal(warped_HW[plain_HW != 255], plain_HW[plain_HW != 255])
    _, kept_N = warp_points(torch.tensor([[y, x]], dtype=torch.float64), window)
    assert not kept_N.any() or (warped_HW == 7).any()
    if (plain_HW == 7).any():
        assert torch.equal(warped_HW, plain_HW) or radius > 0


def test_where_labelled_spots_fall_on_one_pixel_the_first_stays():
    labels_HW = torch.full((8, 8), 255, dtype=torch.uint8)
    labels_HW[2, 2], labels_HW[2, 3], labels_HW[3, 3] = 1, 2, 3  # only (3, 3) is read at half the size
    window = place((8, 8), (4, 4), scale=0.5, down=0, across=0, flip=False)
    assert (warp_sparse(labels_HW, window, none=255) != 255).nonzero().tolist() == [[1, 1]]
    assert warp_sparse(labels_HW, window, none=255)[1, 1] == 3
    labels_HW[3, 3] = 255
    assert warp_sparse(labels_HW, window, none=255)[1, 1] == 1
