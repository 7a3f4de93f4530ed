import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.training import epoch_order, local_batch_size, rank_batches, steps_per_epoch

BLOCKS = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(BLOCKS, st.integers(0, 99), st.integers(0, 9), st.integers(1, 40))
@settings(deadline=None)
def test_an_order_has_every_index_once_and_can_be_had_again(blocks, seed, epoch, window):
    order = epoch_order(blocks, seed=seed, epoch=epoch, window=window)
    assert sorted(order.tolist()) == list(range(sum(blocks)))
    assert order.dtype == np.int64
    np.testing.assert_array_equal(order, epoch_order(blocks, seed=seed, epoch=epoch, window=window))


def test_seed_and_epoch_change_the_order():
    orders = [epoch_order([50, 50], seed=seed, epoch=epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


@given(st.integers(1, 20), st.integers(1, 10), st.integers(1, 60), st.integers(0, 99))
@settings(deadline=None)
def test_a_window_reads_few_blocks(count, size, window, seed):
    order = epoch_order([size] * count, seed=seed, epoch=0, window=window)
    for start in range(0, order.size, window):
        touched = len(set((order[start : start + window] // size).tolist()))
        assert touched <= (window - 1) // size + 2


def test_within_a_window_every_order_is_about_equally_likely():
    first = np.array([epoch_order([2, 3], seed=0, epoch=epoch)[0] for epoch in range(2000)])
    shares = np.bincount(first, minlength=5) / 2000
    np.testing.assert_allclose(shares, 0.2, atol=0.04)


def test_images_of_a_block_larger_than_the_window_do_not_stay_together():
    order = epoch_order([400], seed=0, epoch=0, window=10)
    assert len(set((order[:10] // 10).tolist())) > 3


def test_a_window_is_positive():
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        epoch_order([3], seed=0, epoch=0, window=0)


@given(st.integers(0, 60), st.integers(1, 5), st.integers(2, 6), st.data())
@settings(max_examples=200, deadline=None)
def test_ranks_together_visit_every_image_once_in_equal_steps(images, world, local, data):
    batch_size = local * world + data.draw(st.integers(0, world - 1))
    order = epoch_order([images], seed=1, epoch=0)
    ranks = [rank_batches(order, batch_size=batch_size, rank=rank, world=world) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {steps_per_epoch(images, batch_size)}
    shares = [local_batch_size(batch_size, world, rank) for rank in range(world)]
    assert sum(shares) == batch_size
    assert max(shares) - min(shares) <= 1
    visits, padded = [], []
    for step, batches in enumerate(zip(*ranks, strict=True)):
        together = []
        for (indices, weights), share in zip(batches, shares, strict=True):
            assert indices.shape == weights.shape == (share,)
            assert set(weights.tolist()) <= {0.0, 1.0}
            together += indices[weights == 1].tolist()
            padded += [step] * int((weights == 0).sum())
        # the same images at the same step as a single rank has them
        assert together == order[step * batch_size : (step + 1) * batch_size].tolist()
        visits += together
    assert sorted(visits) == list(range(images))
    assert set(padded) <= {len(ranks[0]) - 1}
    assert len(padded) < batch_size


@given(st.integers(1, 60), st.integers(8, 16), st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_every_image_is_visited_once_however_often_the_world_changes(images, batch_size, worlds, every):
    order, visits = epoch_order([images], seed=2, epoch=5), []
    for step in range(steps_per_epoch(images, batch_size)):
        world = worlds[step // every % len(worlds)]
        for rank in range(world):
            indices, weights = rank_batches(order, batch_size=batch_size, rank=rank, world=world)[step]
            visits += indices[weights == 1].tolist()
    assert sorted(visits) == list(range(images))


def test_two_images_fill_a_batch_of_four():
    ((indices, weights),) = rank_batches(np.array([7, 3]), batch_size=4, rank=0, world=1)
    assert indices.tolist() == [7, 3, 7, 3]
    assert weights.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("rank", [-1, 2])
def test_there_are_as_many_ranks_as_the_world_has(rank):
    with pytest.raises(ValueError, match=rf"rank in 0\.\.1, got {rank}"):
        rank_batches(np.arange(4), batch_size=4, rank=rank, world=2)


@given(st.integers(1, 200), st.integers(1, 20))
@settings(deadline=None)
def test_a_batch_is_shared_or_refused_with_the_least_that_can_be(batch_size, world):
    if batch_size < 2 * world:
        with pytest.raises(ValueError, match=f"set batch_size to at least {2 * world}, or use fewer workers"):
            local_batch_size(batch_size, world)
    else:
        assert local_batch_size(batch_size, world) == -(-batch_size // world)
        assert local_batch_size(batch_size, world, world - 1) == batch_size // world
