import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.metrics import confusion_matrix, scores


def _maps(classes: int = 4, shape: tuple[int, ...] = (3, 7, 9), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, shape).astype(np.uint8)
    target[rng.random(shape) < 0.2] = 255
    return rng.integers(0, classes, shape).astype(np.uint8), target


def _reference(prediction: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), np.int64)
    for p, t in zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_equals_the_reference(dtype: type) -> None:
    prediction, target = _maps()
    found = confusion_matrix(prediction.astype(dtype), target.astype(dtype), 4)
    assert found.dtype == np.int64
    assert np.array_equal(found, _reference(prediction, target, 4))


def test_torch_numpy_and_mixed_agree() -> None:
    prediction, target = _maps()
    expected = _reference(prediction, target, 4)
    predicted_t, true_t = torch.from_numpy(prediction), torch.from_numpy(target)
    for pair in ((predicted_t, true_t), (predicted_t.long(), target), (prediction, true_t.int())):
        found = confusion_matrix(*pair, 4)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_numpy_goes_with_a_gpu() -> None:
    prediction, target = _maps()
    expected = _reference(prediction, target, 4)
    for pair in ((prediction, torch.from_numpy(target).cuda()), (torch.from_numpy(prediction).cuda(), target)):
        assert np.array_equal(confusion_matrix(*pair, 4), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), order=st.permutations(range(6)), cut=st.integers(0, 6))
def test_invariant_to_batching_sharding_and_order(seed: int, order: list[int], cut: int) -> None:
    prediction, target = _maps(5, (6, 4, 5), seed)
    whole = confusion_matrix(prediction, target, 5)
    shards = [confusion_matrix(prediction[part], target[part], 5) for part in (order[:cut], order[cut:])]
    assert np.array_equal(sum(shards), whole)
    assert sum(confusion_matrix(prediction[i], target[i], 5) for i in order).tolist() == whole.tolist()


def test_a_prediction_where_the_truth_is_void_may_be_anything() -> None:
    found = confusion_matrix(np.array([200, 1]), np.array([255, 0]), 2)
    assert found.tolist() == [[0, 1], [0, 0]]
    assert confusion_matrix(np.array([1, 1]), np.array([0, 1]), 2, ignore_index=0).tolist() == [[0, 0], [0, 1]]


def test_one_class_is_two() -> None:
    assert confusion_matrix(np.array([True, False]), np.array([1, 1]), 1).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("wrap", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([0, 3], [0, 1], "prediction"),
        ([0, -1], [0, 1], "prediction"),
        ([0, 1], [0, 3], "target"),
        ([0, 1], [0, 1, 1], "one shape"),
        ([0.0, 1.0], [0, 1], "integer"),
    ],
)
def test_refuses(wrap, prediction: list, target: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(wrap(prediction), wrap(target), 3)


def test_scores_equal_the_reference() -> None:
    prediction, target = _maps(5, (2, 8, 8), 3)
    found = scores(confusion_matrix(prediction, target, 5))
    known = target != 255
    prediction, target = prediction[known], target[known]
    for c in range(5):
        both, either = (prediction == c) & (target == c), (prediction == c) | (target == c)
        assert found["iou"][c] == pytest.approx(both.sum() / either.sum())
        precision, recall = both.sum() / (prediction == c).sum(), both.sum() / (target == c).sum()
        assert found["f1"][c] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["miou"] == pytest.approx(found["iou"].mean())
    assert found["pixel_accuracy"] == pytest.approx((prediction == target).mean())
    assert found["mean_accuracy"] == pytest.approx(np.mean([(prediction == c)[target == c].mean() for c in range(5)]))


def test_an_absent_class_is_left_out_and_an_invented_one_is_not() -> None:
    found = scores([[8, 0, 2], [0, 0, 0], [0, 0, 0]])  # 1 nowhere, 2 only predicted
    assert found["iou"][0] == pytest.approx(0.8)
    assert np.isnan(found["iou"][1])
    assert np.isnan(found["f1"][1])
    assert found["iou"][2] == 0
    assert found["miou"] == pytest.approx(0.4)
    assert found["mean_accuracy"] == pytest.approx(0.8)


def test_nothing_counted_is_nan_and_not_square_is_refused() -> None:
    found = scores(np.zeros((3, 3), np.int64))
    assert all(np.isnan(value).all() for value in found.values())
    with pytest.raises(ValueError, match="square"):
        scores(np.zeros((2, 3)))
