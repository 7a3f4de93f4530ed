"""Draws depend on what they are for, and on nothing else."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from weakseg import seeding

KEYS = st.tuples(st.integers(0, 2**40), st.sampled_from(["select", "augment"]), st.integers(0, 99), st.text(max_size=8))


@given(KEYS)
def test_same_key_same_number(key: tuple[int, str, int, str]) -> None:
    seed, purpose, round, image_id = key
    number = seeding.integer(seed, purpose, round=round, image_id=image_id)
    assert 0 <= number < 2**63
    assert number == seeding.integer(seed, purpose, round=round, image_id=image_id)


@given(KEYS, KEYS)
def test_other_key_other_number(one: tuple[int, str, int, str], other: tuple[int, str, int, str]) -> None:
    numbers = {seeding.integer(s, p, round=r, image_id=i) for s, p, r, i in (one, other)}
    assert len(numbers) == len({one, other})


def test_parts_of_a_key_do_not_run_together() -> None:
    assert seeding.integer(1, "a", round=11) != seeding.integer(1, "a1", round=1)
    assert seeding.integer(1, "a", round=1, image_id="1x") != seeding.integer(1, "a", round=11, image_id="x")


def test_known_number_stays() -> None:
    # A change here would change the selection of every run that is under way.
    assert seeding.integer(0, "select", round=1, image_id="train/0001") == 8131229182400336675


def test_generators_are_independent_of_each_other() -> None:
    one = seeding.generator(3, "select", image_id="a")
    seeding.generator(3, "select", image_id="b").random(100)
    assert one.random() == seeding.generator(3, "select", image_id="a").random()
    first = torch.rand(3, generator=seeding.torch_generator(3, "augment", round=1))
    assert torch.equal(first, torch.rand(3, generator=seeding.torch_generator(3, "augment", round=1)))
    assert not torch.equal(first, torch.rand(3, generator=seeding.torch_generator(3, "augment", round=2)))


def test_global_generators() -> None:
    def draws() -> tuple[float, float]:
        seeding.seed_everything(5, "model", round=2)
        return float(np.random.rand()), float(torch.rand(1))

    assert draws() == draws()
