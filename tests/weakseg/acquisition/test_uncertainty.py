import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from weakseg.acquisition import best_versus_second_best, entropy, least_confidence, margin


def _pixel(function: Callable[[Tensor], Tensor], *probs: float) -> float:
    return float(function(torch.tensor(probs, dtype=torch.float64)[None, :, None, None]))


def _reference(name: str, probs: list[float]) -> float:
    ordered = sorted(probs, reverse=True)
    match name:
        case "least_confidence":
            return 1 - ordered[0]
        case "margin":
            return 1 - (ordered[0] - ordered[1])
        case "entropy":
            return -sum(p * math.log(p) for p in probs if p > 0)
        case _:
            return ordered[1] / ordered[0]


@pytest.mark.parametrize("function", [least_confidence, margin, entropy, best_versus_second_best])
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_equals_the_reference(function: Callable[[Tensor], Tensor], classes: int) -> None:
    probs = np.random.default_rng(0).dirichlet(np.full(classes, 0.4), (2, 4, 5)).transpose(0, 3, 1, 2)
    probs[0, :, 0, 0] = np.eye(classes)[1]
    scores = function(torch.from_numpy(probs)).numpy()
    for b, y, x in np.ndindex(2, 4, 5):
        expected = _reference(function.__name__, probs[b, :, y, x].tolist())
        assert scores[b, y, x] == pytest.approx(expected, abs=2e-6)


def test_by_hand() -> None:
    assert _pixel(least_confidence, 0.5, 0.3, 0.2) == pytest.approx(0.5)
    assert _pixel(margin, 0.5, 0.3, 0.2) == pytest.approx(0.8)
    assert _pixel(best_versus_second_best, 0.5, 0.3, 0.2) == pytest.approx(0.6)
    assert _pixel(entropy, 0.5, 0.25, 0.25) == pytest.approx(1.5 * math.log(2))


def test_the_highest_twice_is_also_the_second() -> None:
    assert _pixel(margin, 0.4, 0.2, 0.4) == 1
    assert _pixel(best_versus_second_best, 0.4, 0.4, 0.2) == 1
