"""What is worth its cost: the points that no other beats in both cost and score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pareto_front(costs_N: Sequence[float], scores_N: Sequence[float]) -> NDArray[np.bool_]:
    """Which points no other point beats: none is as cheap and better, or as good and cheaper.

    Args:
        costs_N: (N,) costs, lower is better.
        scores_N: (N,) scores, higher is better.

    Returns:
        (N,) true on the front; equal points are on it together.

    Raises:
        ValueError: If there are not as many costs as scores, or one is NaN.
    """
    cost_N, score_N = np.asarray(costs_N, np.float64), np.asarray(scores_N, np.float64)
    if cost_N.ndim != 1 or cost_N.shape != score_N.shape:
        raise ValueError(f"expected as many costs as scores, got shapes {cost_N.shape} and {score_N.shape}")
    if np.isnan(cost_N).any() or np.isnan(score_N).any():
        raise ValueError("expected numbers, got NaN; leave out what was not measured")
    as_good_NN = (cost_N[:, None] <= cost_N) & (score_N[:, None] >= score_N)
    better_NN = as_good_NN & ((cost_N[:, None] < cost_N) | (score_N[:, None] > score_N))
    front_N: NDArray[np.bool_] = ~better_NN.any(axis=0)
    return front_N
