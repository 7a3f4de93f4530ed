"""Means over seeds with t intervals."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TypedDict

from scipy import stats


class Mean(TypedDict):
    """A mean with its interval; the bounds are None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    seeds: int


def interval(values: Sequence[float], *, level: float = 0.95) -> Mean:
    """The mean of independent values and its t interval; of paired ones, give the differences.

    Args:
        values: At least one.
        level: Of the interval.
    """
    if not values:
        raise ValueError("expected at least one value")
    mean, count = fmean(values), len(values)
    if count == 1:
        return Mean(mean=mean, low=None, high=None, sd=None, seeds=1)
    sd = stdev(values)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * sd / math.sqrt(count)
    return Mean(mean=mean, low=mean - half, high=mean + half, sd=sd, seeds=count)
