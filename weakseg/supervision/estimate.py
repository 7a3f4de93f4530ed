"""Accuracy without masks: from a few labelled points on images that nothing was trained on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Estimate:
    """Pixel accuracy of a model, and how sure that is.

    Attributes:
        accuracy: 0..1.
        low: Lower end of the interval.
        high: Upper end.
        points: Labelled points it rests on.
        images: Images they lie in.
    """

    accuracy: float
    low: float
    high: float
    points: int
    images: int


def estimate_accuracy(
    correct_N: ArrayLike,
    image_N: ArrayLike,
    *,
    pixels_I: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Estimate:
    """Estimate the share of right pixels from points drawn uniformly in each of some images.

    An image's accuracy is that of its points; the estimate is their mean, weighted by the images' pixels. Points of one
    image are alike, so the interval comes from a cluster bootstrap: whole images are drawn with replacement. A
    percentile interval of few clusters is too narrow, hence the expanded one of Hesterberg ("What Teachers Should Know
    About the Bootstrap", The American Statistician 69, 2015): its tails are those of Student's t with a factor
    sqrt(n / (n - 1)). Where all images are equally good, nothing varies and the bootstrap says nothing; then the
    interval is the exact one of as many independent draws as there are images (Clopper and Pearson, 1934).

    Args:
        correct_N: (N,) whether the model is right at a point; points without a known class are left out before.
        image_N: (N,) integer, which image a point lies in, 0..I-1; images without a point are passed over.
        pixels_I: (I,) how many pixels each image has; None = all the same.
        level: Of the interval, between 0 and 1.
        resamples: Bootstrap draws.
        rng: Of the draws.

    Returns:
        The estimate.

    Raises:
        ValueError: There is no point, lengths differ, or a number is out of range.
    """
    right_N, cluster_N = np.asarray(correct_N, bool), np.asarray(image_N, np.int64)
    if right_N.ndim != 1 or right_N.shape != cluster_N.shape or right_N.size == 0:
        raise ValueError(f"expected at least one point and its image, got {right_N.shape} and {cluster_N.shape}")
    if not 0 < level < 1 or resamples < 1 or cluster_N.min() < 0:
        raise ValueError(f"expected level in (0, 1), resamples >= 1 and images from 0, got {level} and {resamples}")
    count_I = np.bincount(cluster_N)
    weight_I = np.ones(count_I.size) if pixels_I is None else np.asarray(pixels_I, np.float64)
    if weight_I.ndim != 1 or weight_I.size < count_I.size or not (weight_I > 0).all():
        raise ValueError(f"expected pixels > 0 of {count_I.size} images, got {weight_I.shape}")
    known = np.flatnonzero(count_I)
    mean_I = np.bincount(cluster_N, weights=right_N)[known] / count_I[known]
    weight_I = weight_I[known]
    accuracy = float(np.average(mean_I, weights=weight_I))
    low, high = _interval(mean_I, weight_I, level, resamples, rng)
    return Estimate(accuracy, min(low, accuracy), max(high, accuracy), int(right_N.size), int(known.size))


def _interval(
    mean_I: NDArray[np.float64],
    weight_I: NDArray[np.float64],
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    from scipy import special  # takes a while, which few who import this package need

    images, tail = mean_I.size, (1 - level) / 2
    if np.ptp(mean_I) == 0:
        right = round(float(mean_I[0]) * images)
        low = special.betaincinv(right, images - right + 1, tail) if right else 0.0
        high = special.betaincinv(right + 1, images - right, 1 - tail) if right < images else 1.0
        return float(low), float(high)
    # Not the draws but how often each image is drawn: (resamples, images) small integers.
    drawn_RI = rng.multinomial(images, np.full(images, 1 / images), size=resamples)
    values_R = (drawn_RI @ (weight_I * mean_I)) / (drawn_RI @ weight_I)
    expanded = float(special.ndtr(math.sqrt(images / (images - 1)) * special.stdtrit(images - 1, tail)))
    low, high = np.quantile(values_R, [expanded, 1 - expanded])
    return float(low), float(high)
