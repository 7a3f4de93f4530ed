"""Images kept aside: whole groups, fixed by the seed, never all."""

import pytest

from pipelines.holdout import held_out
from weakseg.errors import DataError

IDS = [f"{group}/{number}" for group in range(10) for number in range(3)]
GROUPS = [image_id.partition("/")[0] for image_id in IDS]


def test_groups_stay_whole():
    held_N = held_out(IDS, GROUPS, 0.2, 0)
    assert held_N.sum() == 6
    assert len({group for group, held in zip(GROUPS, held_N, strict=True) if held}) == 2


def test_the_seed_draws_and_the_order_does_not():
    first = dict(zip(IDS, held_out(IDS, GROUPS, 0.3, 0), strict=True))
    again = dict(zip(IDS[::-1], held_out(IDS[::-1], GROUPS[::-1], 0.3, 0), strict=True))
    assert first == again
    assert any((held_out(IDS, GROUPS, 0.3, seed) != held_out(IDS, GROUPS, 0.3, 0)).any() for seed in (1, 2, 3))


def test_few_groups_are_cut_through():
    assert held_out(IDS, ["one"] * len(IDS), 0.2, 0).sum() == 6


def test_nothing_left_to_train_on_is_refused():
    with pytest.raises(DataError, match="labelling.holdout"):
        held_out(["a"], ["a"], 0.2, 0)
    assert held_out([], [], 0.2, 0).size == 0
