import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weakseg import seeding
from weakseg.metrics import TEMPERATURES, calibration_counts, fit_temperature, negative_log_likelihood, sample_logits


def _drawn(seed: int, classes: int = 3, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((count, classes))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, (probs.cumsum(1) < rng.random((count, 1))).sum(1).clip(max=classes - 1)


def _nll(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    total = 0.0
    for row, label in zip(logits / temperature, labels, strict=True):
        total += np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]
    return total / len(labels)


@pytest.mark.parametrize("factor", [0.2, 0.5, 1.0, 2.7, 8.0])
def test_recovers_a_known_factor(factor: float) -> None:
    logits, labels = _drawn(0, count=60000)
    natural = fit_temperature(logits, labels)
    assert natural == pytest.approx(1, abs=0.03)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor * natural, rel=1e-6)


@given(seed=st.integers(0, 200), factor=st.floats(0.2, 5), classes=st.integers(2, 4))
def test_no_other_temperature_is_better(seed: int, factor: float, classes: int) -> None:
    logits, labels = _drawn(seed, classes, 60)
    logits *= factor
    found = fit_temperature(logits, labels)
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
    best = _nll(logits, labels, found)
    for other in (found * 0.99, found * 1.01, *np.geomspace(*TEMPERATURES, 9)):
        if TEMPERATURES[0] <= other <= TEMPERATURES[1]:
            assert best <= _nll(logits, labels, other) + 1e-12


def test_lowers_the_likelihood_loss_and_is_the_same_for_every_type() -> None:
    logits, labels = _drawn(1)
    logits *= 4
    found = fit_temperature(logits, labels)
    before, after = (negative_log_likelihood(calibration_counts(logits, labels, temperature=t)) for t in (1.0, found))
    assert after < before
    single = logits.astype(np.float32)
    assert fit_temperature(torch.tensor(single), torch.tensor(labels)) == fit_temperature(single, labels)
    assert fit_temperature(logits, labels) == found
    half = torch.tensor(single).bfloat16()
    assert fit_temperature(half, torch.tensor(labels)) == fit_temperature(half.float().numpy(), labels)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    assert fit_temperature(logits[shuffled], labels[shuffled]) == pytest.approx(found, rel=1e-7)


def test_one_channel_is_two() -> None:
    logits, labels = _drawn(2, 2)
    one = logits[:, 1:] - logits[:, :1]
    assert fit_temperature(one, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-7)


def test_what_cannot_be_fitted() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert fit_temperature(np.full((5, 3), 7.0), np.arange(5) % 3) == 1
    sure, first = np.array([[9.0, 0.0]] * 5), np.zeros(5, int)
    assert fit_temperature(sure, first) == TEMPERATURES[0]
    assert fit_temperature(sure, 1 - first) == TEMPERATURES[1]
    assert fit_temperature(1e30 * sure, first) == 1  # as sure at every temperature
    assert fit_temperature(1e300 * sure, 1 - first) == TEMPERATURES[1]


def test_refuses_a_fit() -> None:
    with pytest.raises(ValueError, match=r"\(5, 3\) and int64 \(4,\)"):
        fit_temperature(np.zeros((5, 3)), np.zeros(4, int))
    with pytest.raises(ValueError, match="integer labels"):
        fit_temperature(np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.full((4, 3), np.nan), np.zeros(4, int))
    with pytest.raises(ValueError, match=r"labels 0\.\.2, got 0\.\.255"):
        fit_temperature(np.zeros((2, 3)), np.array([0, 255]))


@given(seed=st.integers(0, 200), count=st.integers(0, 40), classes=st.integers(1, 3))
def test_samples_are_pixels_that_are_not_void_each_once(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits = np.arange(classes * 30, dtype=np.float32).reshape(classes, 5, 6)  # every value says where it is from
    target = rng.choice([0, 1, 255], (5, 6)).astype(np.uint8)
    found, labels = sample_logits(logits, target, count, np.random.default_rng(seed))
    assert (found.dtype, labels.dtype) == (np.float32, np.int64)
    assert found.shape == (min(count, int((target != 255).sum())), classes)
    places = found[:, 0].astype(int)
    assert np.array_equal(places, np.unique(places))
    assert np.array_equal(labels, target.ravel()[places])
    assert 255 not in labels
    assert np.array_equal(found, logits.reshape(classes, -1)[:, places].T)
    for kind in (torch.tensor, lambda array: torch.tensor(array).half().float()):
        again = sample_logits(kind(logits), torch.tensor(target), count, np.random.default_rng(seed))
        assert np.array_equal(again[0], found)
        assert np.array_equal(again[1], labels)


def test_samples_are_uniform_and_fixed_by_their_generator() -> None:
    target = np.zeros((4, 5), int)
    target[0] = 255
    seen = np.zeros(20)
    logits = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    for number in range(3000):
        seen[sample_logits(logits, target, 3, np.random.default_rng(number))[0].ravel().astype(int)] += 1
    assert seen[:5].sum() == 0
    np.testing.assert_allclose(seen[5:], 600, atol=100)
    one, other = (
        sample_logits(logits, target, 3, seeding.generator(0, "temperature", image_id=image))[0] for image in "aa"
    )
    assert np.array_equal(one, other)


def test_refuses_a_sample() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 5\) and \(5, 4\)"):
        sample_logits(np.zeros((3, 4, 5)), np.zeros((5, 4), int), 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="count >= 0"):
        sample_logits(np.zeros((3, 4, 5)), np.zeros((4, 5), int), -1, np.random.default_rng(0))
