"""Accuracy from points: against a slow reference, and how often the interval holds the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from weakseg.supervision import estimate_accuracy


def reference(
    correct: list[bool], image: list[int], pixels: list[int], resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """The same with loops: the mean of image means, and quantiles of it over redrawn images."""
    images = sorted(set(image))

    def mean(drawn: list[int]) -> float:
        total = weight = 0.0
        for number in drawn:
            mine = [right for right, where in zip(correct, image, strict=True) if where == number]
            total += pixels[number] * sum(mine) / len(mine)
            weight += pixels[number]
        return total / weight

    n = len(images)
    values = []
    for counts in rng.multinomial(n, [1 / n] * n, size=resamples):
        values.append(mean([images[i] for i, count in enumerate(counts) for _ in range(count)]))
    tail = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(0.025, n - 1))
    return mean(images), float(np.quantile(values, tail)), float(np.quantile(values, 1 - tail))


def test_equals_the_reference():
    rng = np.random.default_rng(3)
    image = np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 7])
    correct = rng.random(image.size) < 0.7
    pixels = [10, 20, 30, 40, 50, 60, 70]
    found = estimate_accuracy(correct, image, pixels_I=pixels, resamples=200, rng=np.random.default_rng(5))
    expected = reference(correct.tolist(), image.tolist(), pixels, 200, np.random.default_rng(5))
    assert (found.accuracy, found.low, found.high) == pytest.approx(expected)
    assert (found.points, found.images) == (28, 7)


def test_images_count_by_their_pixels_not_by_their_points():
    correct = [True] * 9 + [False]
    image = [0] * 9 + [1]
    assert estimate_accuracy(correct, image, rng=np.random.default_rng(0)).accuracy == 0.5
    found = estimate_accuracy(correct, image, pixels_I=[1, 3], rng=np.random.default_rng(0))
    assert found.accuracy == 0.25


def test_all_right_is_not_certainty():
    found = estimate_accuracy([True] * 40, np.repeat(np.arange(10), 4), rng=np.random.default_rng(0))
    assert (found.accuracy, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 10))
    wrong = estimate_accuracy([False] * 40, np.repeat(np.arange(10), 4), rng=np.random.default_rng(0))
    assert (wrong.accuracy, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_one_image_says_little():
    found = estimate_accuracy([True, False], [0, 0], rng=np.random.default_rng(0))
    assert found.accuracy == 0.5
    assert found.low <= 0.05
    assert found.high >= 0.95


def test_images_without_a_point_are_passed_over():
    some = estimate_accuracy([True, False], [1, 4], pixels_I=[9, 1, 9, 9, 1], rng=np.random.default_rng(0))
    assert (some.accuracy, some.images) == (0.5, 2)


@pytest.mark.parametrize(
    ("correct", "image", "options"),
    [
        ([], [], {}),
        ([True], [0, 1], {}),
        ([True], [-1], {}),
        ([True], [0], {"level": 1.0}),
        ([True], [1], {"pixels_I": [3]}),
        ([True], [0], {"pixels_I": [0]}),
        ([True], [0], {"resamples": 0}),
    ],
)
def test_faulty_arguments_are_refused(correct: list[bool], image: list[int], options: dict[str, object]):
    with pytest.raises(ValueError, match="expected"):
        estimate_accuracy(correct, image, rng=np.random.default_rng(0), **options)  # type: ignore[arg-type]


def coverage(resamplings: int, *, images: int, points: int) -> float:
    """How often the interval holds the accuracy of fixed predictions, over draws of held-out images and points."""
    rng = np.random.default_rng(17)
    population = 2000
    right_I = np.clip(rng.beta(8, 2, population), 0, 1)  # each image's share of right pixels
    truth = right_I.mean()
    held = 0
    for _ in range(resamplings):
        chosen = rng.choice(population, images, replace=False)
        correct_IP = rng.random((images, points)) < right_I[chosen, None]
        found = estimate_accuracy(correct_IP.ravel(), np.repeat(np.arange(images), points), resamples=1000, rng=rng)
        held += found.low <= truth <= found.high
    return held / resamplings


def test_the_interval_holds_the_truth_nearly_as_often_as_it_says():
    assert 0.90 <= coverage(200, images=40, points=5) <= 0.99


@pytest.mark.long
@pytest.mark.parametrize(("images", "points"), [(20, 5), (20, 20), (40, 5), (40, 20), (100, 10)])
def test_the_interval_holds_the_truth_95_times_in_100(images: int, points: int):
    assert 0.93 <= coverage(1000, images=images, points=points) <= 0.97
