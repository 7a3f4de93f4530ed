"""Which images make up which batch: every image exactly once per epoch, over all ranks together.

The order depends on the seed and the epoch only. Ranks cut the same global batches into slices, so that one rank or
eight take the same optimiser steps, and their number may change at any step.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from weakseg import seeding


def epoch_order(block_sizes: Sequence[int], *, seed: int, epoch: int, window: int = 1024) -> npt.NDArray[np.int64]:
    """Shuffle in two steps: blocks (row groups) first, then images within windows of the resulting order.

    At any time the images asked for come from the few blocks that one window spans, so that a small cache of blocks
    reads each about once. Up to ``window`` images in all, every order is equally likely.

    Args:
        block_sizes: How many consecutive examples are read together, in index order.
        seed: Fixes the order, together with the epoch.
        epoch: Number of finished epochs.
        window: How many images are shuffled among themselves.

    Returns:
        A permutation of all indices (N,).

    Raises:
        ValueError: The window is not positive.
    """
    if window < 1:
        raise ValueError(f"expected a window of at least 1 image, got {window}")
    rng = seeding.generator(seed, "order", round=epoch)
    starts = np.cumsum([0, *block_sizes])
    blocks = [starts[block] + rng.permutation(block_sizes[block]) for block in rng.permutation(len(block_sizes))]
    order = np.concatenate([np.empty(0, np.int64), *blocks]).astype(np.int64)
    for start in range(0, order.size, window):
        rng.shuffle(order[start : start + window])
    return order


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimiser steps that visit each of ``images`` once in global batches of ``batch_size``."""
    return -(-images // batch_size)


def rank_batches(
    order: npt.NDArray[np.int64], *, batch_size: int, rank: int, world: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Cut an epoch's order into one rank's batches.

    Every batch is full and every rank takes as many steps: the last global batch is filled up with images from the
    start of the order, whose weight is 0. They take part in batch normalisation but in no loss.

    Args:
        order: The epoch's order (N,).
        batch_size: Images per step over all ranks.
        rank: This rank, 0..world-1.
        world: Number of ranks.

    Returns:
        Per step the indices (B,) and their weights (B,), 1 for a visit and 0 for a repeat; B is
        :func:`local_batch_size`.

    Raises:
        ValueError: The batch size cannot be shared by the ranks (see :func:`local_batch_size`), or no such rank.
    """
    local = local_batch_size(batch_size, world, rank)
    first = rank * (batch_size // world) + min(rank, batch_size % world)
    steps = steps_per_epoch(order.size, batch_size)
    # np.resize repeats from the start as often as it takes, also where there are fewer images than a batch holds
    indices = np.resize(order, (steps, batch_size))[:, first : first + local]
    visits = np.arange(steps * batch_size) < order.size
    weights = visits.astype(np.float32).reshape(steps, batch_size)[:, first : first + local]
    return [(indices[step], weights[step]) for step in range(steps)]


def local_batch_size(batch_size: int, world: int, rank: int = 0) -> int:
    """Images per step on a rank: equal shares, and what is left over one each for the first ranks.

    Args:
        batch_size: Images per step over all ranks.
        world: Number of ranks.
        rank: Which rank.

    Returns:
        At least 2: batch normalisation over one image of one pixel (DeepLabv3+'s pooling branch) has no variance.

    Raises:
        ValueError: A rank's share would be below 2, or there is no such rank.
    """
    if world < 1:
        raise ValueError(f"expected at least 1 worker, got {world}")
    if not 0 <= rank < world:
        raise ValueError(f"expected a rank in 0..{world - 1}, got {rank}")
    share, rest = divmod(batch_size, world)
    if share < 2:
        raise ValueError(
            f"a batch_size of {batch_size} over {world} worker(s) leaves fewer than 2 images on a worker, and batch "
            f"normalisation cannot train on one: set batch_size to at least {2 * world}, or use fewer workers"
        )
    return share + (rank < rest)
