import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakseg.selection import budget_per_image, select_images


def _ids(count: int) -> list[str]:
    return [f"train/{n:04d}" for n in range(count)]


fractions = st.one_of(st.floats(0.001, 1), st.sampled_from([0.01, 0.07, 0.1, 0.25, 0.5, 0.57, 1.0]))


@given(count=st.integers(1, 120), percent=st.integers(1, 100), seed=st.integers(0, 1000))
def test_as_many_as_asked_and_sorted(count: int, percent: int, seed: int) -> None:
    chosen = select_images(_ids(count), percent / 100, seed=seed)
    assert chosen.dtype == np.int64
    assert len(chosen) == -(-percent * count // 100)  # the ceiling, in whole numbers
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen[0]
    assert chosen[-1] < count


@given(count=st.integers(1, 60), fractions=st.lists(fractions, min_size=2, max_size=4), seed=st.integers(0, 1000))
def test_a_larger_fraction_only_adds(count: int, fractions: list[float], seed: int) -> None:
    chosen = [set(select_images(_ids(count), fraction, seed=seed).tolist()) for fraction in sorted(fractions)]
    assert all(few <= more for few, more in pairwise(chosen))


@given(order=st.permutations(range(30)), fraction=fractions, pixels=st.integers(0, 20))
def test_the_order_of_images_does_not_matter(order: list[int], fraction: float, pixels: int) -> None:
    ids = _ids(30)
    moved = [ids[i] for i in order]
    assert {moved[i] for i in select_images(moved, fraction, seed=3)} == {
        ids[i] for i in select_images(ids, fraction, seed=3)
    }
    budget, elsewhere = (budget_per_image(names, pixels, fraction, seed=3) for names in (ids, moved))
    assert elsewhere.tolist() == [budget[i] for i in order]


def test_every_image_is_as_likely_and_a_seed_moves_them() -> None:
    counts = np.zeros(20)
    for seed in range(400):
        counts[select_images(_ids(20), 0.25, seed=seed)] += 1
    # 100 expected, standard deviation 9
    assert counts.min() > 60
    assert counts.max() < 140


@given(
    count=st.integers(1, 80),
    fraction=fractions,
    pixels=st.one_of(st.integers(0, 30), st.floats(0, 30)),
    seed=st.integers(0, 1000),
)
def test_the_budget_is_exact_and_even(count: int, fraction: float, pixels: float, seed: int) -> None:
    budget = budget_per_image(_ids(count), pixels, fraction, seed=seed)
    chosen = select_images(_ids(count), fraction, seed=seed)
    assert budget.dtype == np.int64
    assert budget.sum() == round(pixels * count)
    assert not np.delete(budget, chosen).any()
    assert budget[chosen].max() - budget[chosen].min() <= 1
    assert abs(budget[chosen] - round(pixels * count) / len(chosen)).max() < 1


def test_by_hand() -> None:
    assert budget_per_image(_ids(7), 10, 1.0, seed=0).tolist() == [10] * 7
    assert sorted(budget_per_image(_ids(8), 10, 0.5, seed=0).tolist()) == [0] * 4 + [20] * 4
    # 50 pixels over the ceil(1.5) = 2 of 5 images; 3 pixels over 2
    assert sorted(budget_per_image(_ids(5), 10, 0.3, seed=0).tolist()) == [0, 0, 0, 25, 25]
    assert sorted(budget_per_image(_ids(5), 0.6, 0.3, seed=0).tolist()) == [0, 0, 0, 1, 2]
    assert math.ceil(0.07 * 100) == 8  # what binary fractions would make of 7 images
    assert len(select_images(_ids(100), 0.07, seed=0)) == 7
    assert len(select_images(_ids(3), 0.01, seed=0)) == 1


def test_no_images() -> None:
    assert select_images([], 0.5, seed=0).shape == (0,)
    assert budget_per_image([], 5, 0.5, seed=0).shape == (0,)


def test_refuses() -> None:
    for fraction in (0.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="fraction above 0 and at most 1"):
            select_images(_ids(3), fraction, seed=0)
    with pytest.raises(ValueError, match="duplicates"):
        select_images(["a", "a"], 0.5, seed=0)
    for pixels in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="pixels_per_image"):
            budget_per_image(_ids(3), pixels, 0.5, seed=0)
