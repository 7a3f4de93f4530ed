from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weakseg.datasets import assign_splits
from weakseg.errors import DataError

GROUPS = st.dictionaries(st.text(min_size=1), st.integers(1, 9), min_size=3, max_size=40)
SHARES = st.tuples(st.floats(0, 0.45), st.floats(0, 0.45))


def images_of(sizes):
    return [group for group, size in sizes.items() for _ in range(size)]


def test_exact_fractions_of_single_images():
    names = [f"image {number}" for number in range(100)]
    drawn = assign_splits(names, {"val": 0.2, "test": 0.1}, seed=0)
    assert Counter(drawn[name] for name in names) == {"train": 70, "val": 20, "test": 10}
    assert drawn.present() == {"train", "val", "test"}
    assert drawn.get("no such image") is None
    with pytest.raises(KeyError):
        drawn["no such image"]


@given(GROUPS, SHARES, st.integers(0, 5))
@settings(deadline=None)
def test_shares_are_as_near_as_whole_groups_allow(sizes, shares, seed):
    fractions = dict(zip(("val", "test"), shares, strict=True))
    wanted = [name for name, share in fractions.items() if share > 0]
    drawn = assign_splits(images_of(sizes), fractions, seed=seed)
    counts = Counter(drawn[group] for group in images_of(sizes))
    assert set(counts) == {"train", *wanted}
    groups = Counter(drawn[group] for group in sizes)
    for name in wanted:
        target = fractions[name] * sum(sizes.values())
        largest = max(size for group, size in sizes.items())
        # A split of one group may miss its target by that group; others by at most half a group, unless
        # the last groups had to be left for the splits to come.
        assert groups[name] == 1 or counts[name] <= target + largest / 2
        assert counts[name] >= target - largest / 2 or groups["train"] == 1 or groups["val"] == 1


@given(GROUPS, st.integers(0, 5), st.randoms())
@settings(deadline=None)
def test_the_order_of_the_images_does_not_matter(sizes, seed, random):
    images = images_of(sizes)
    first = assign_splits(images, {"val": 0.3}, seed=seed)
    random.shuffle(images)
    second = assign_splits(images, {"val": 0.3}, seed=seed)
    assert [first[group] for group in sizes] == [second[group] for group in sizes]


def test_the_seed_matters():
    names = [str(number) for number in range(30)]
    drawn = {tuple(assign_splits(names, {"val": 0.5}, seed=seed)[name] for name in names) for seed in range(10)}
    assert len(drawn) == 10


@given(st.integers(1, 4), st.booleans())
@settings(deadline=None)
def test_too_few_groups(count, test):
    fractions = {"val": 0.2, "test": 0.2 if test else 0.0}
    names = [str(number) for number in range(count)]
    if count >= 2 + test:
        assert assign_splits(names, fractions, seed=0).present() == {"train", "val", *["test"] * test}
        return
    with pytest.raises(DataError, match=f"{count} groups cannot be divided into {2 + test} splits"):
        assign_splits(names, fractions, seed=0)


def test_no_fractions_is_all_train():
    assert assign_splits(["a", "b"], {}, seed=0).present() == {"train"}


@pytest.mark.parametrize(
    ("fractions", "fault"),
    [
        ({"valid": 0.1}, "fractions of val and test are expected, got valid"),
        ({"val": 1.0}, r"in \[0, 1\)"),
        ({"val": -0.1}, r"in \[0, 1\)"),
        ({"val": 0.5, "test": 0.5}, "leave some images to train on"),
        ({"val": float("nan")}, r"in \[0, 1\)"),
    ],
)
def test_faulty_fractions(fractions, fault):
    with pytest.raises(DataError, match=fault):
        assign_splits(["a", "b", "c"], fractions, seed=0)


@given(GROUPS)
@settings(deadline=None)
def test_a_group_is_never_cut(sizes):
    assume(len(sizes) > 3)
    drawn = assign_splits(images_of(sizes), {"val": 0.3, "test": 0.3}, seed=1)
    assert len(drawn.codes) == len(drawn.splits) == len(sizes)
