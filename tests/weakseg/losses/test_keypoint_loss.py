import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.losses import keypoint_loss, keypoint_weight, two_channels
from weakseg.models import Output, full_resolution


def reference(logits, labels, ignore_index=255):
    """Sum over images and classes, and how many images have keypoints; one pixel at a time."""
    total = images = 0.0
    for b in range(len(logits)):
        per_class = {}
        for y, x in np.ndindex(labels.shape[1:]):
            if labels[b, y, x] == ignore_index:
                continue
            scores = logits[b, :, y, x]
            if len(scores) == 1:
                positive = 1 / (1 + np.exp(-scores[0]))
                probability = positive if labels[b, y, x] == 1 else 1 - positive
            else:
                probability = np.exp(scores[labels[b, y, x]]) / np.exp(scores).sum()
            per_class.setdefault(labels[b, y, x], []).append(-np.log(probability))
        total += sum(sum(values) / len(values) for values in per_class.values())
        images += bool(per_class)
    return total, images


def example(classes=4, seed=0, ignore_index=255):
    """Four images; the second has no keypoint, the third is all of one class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(classes, 2), (4, 5, 6))
    labels[rng.random(labels.shape) < 0.7] = ignore_index
    labels[1] = ignore_index
    labels[2] = 1
    return rng.normal(0, 2, (4, classes, 5, 6)), labels


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("ignore_index", [255, -1])
def test_values(classes, ignore_index):
    logits, labels = example(classes, ignore_index=ignore_index)
    total, images = reference(logits, labels, ignore_index)
    assert images == 3
    tensors = torch.tensor(logits), torch.tensor(labels)
    assert keypoint_loss(*tensors, ignore_index=ignore_index).item() == pytest.approx(total / images)
    assert keypoint_loss(*tensors, ignore_index=ignore_index, reduction="sum").item() == pytest.approx(total)
    weight = keypoint_weight(tensors[1], ignore_index=ignore_index)
    assert (weight.item(), weight.dtype) == (images, torch.float64)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_by_finite_differences(classes, reduction):
    logits, labels = example(classes, 1)
    logits = torch.tensor(logits, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: keypoint_loss(x, torch.tensor(labels), reduction=reduction), logits)


def test_gradient_by_hand():
    """(softmax - one-hot) / keypoints of that image and class."""
    logits, labels = example()
    tensor = torch.tensor(logits, requires_grad=True)
    keypoint_loss(tensor, torch.tensor(labels), reduction="sum").backward()
    expected = np.zeros_like(logits)
    for b, y, x in np.argwhere(labels != 255):
        label = labels[b, y, x]
        softmax = np.exp(logits[b, :, y, x]) / np.exp(logits[b, :, y, x]).sum()
        expected[b, :, y, x] = (softmax - np.eye(4)[label]) / (labels[b] == label).sum()
    np.testing.assert_allclose(tensor.grad.numpy(), expected, atol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_class_weighs_the_same_however_many_keypoints_it_has(seed, copies):
    logits, labels = example(seed=seed)
    wide = np.concatenate([logits] * copies, axis=3), np.concatenate([labels] * copies, axis=2)
    expected = keypoint_loss(torch.tensor(logits), torch.tensor(labels))
    torch.testing.assert_close(keypoint_loss(torch.tensor(wide[0]), torch.tensor(wide[1])), expected)


def test_one_channel_is_the_pair():
    logits, labels = (torch.tensor(array) for array in example(1))
    torch.testing.assert_close(keypoint_loss(logits, labels), keypoint_loss(two_channels(logits), labels))
    positives = keypoint_loss(logits, torch.where(labels == 1, labels, 255), reduction="sum")
    negatives = keypoint_loss(logits, torch.where(labels == 0, labels, 255), reduction="sum")
    torch.testing.assert_close(positives + negatives, keypoint_loss(logits, labels, reduction="sum"))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4, 8]), st.integers(0, 3), st.sampled_from([1, 3]))
def test_at_the_heads_resolution_it_equals_that_on_upsampled_logits(seed, stride, padding, classes):
    """In value and gradient; the labels may lack the padding on the right and below."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 2, (2, classes, 3, 4)))
    size = (3 * stride + 3, 4 * stride + 3)
    labels = torch.tensor(rng.integers(0, 2, (2, size[0] - padding, size[1] - padding)))
    labels[torch.tensor(rng.random(tuple(labels.shape))) < 0.8] = 255
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = keypoint_loss(ours, labels, size=size)
    expected = keypoint_loss(full_resolution(Output(theirs, None, size), tuple(labels.shape[1:])), labels)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("size", [None, (5, 6)])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_infinite_logits_elsewhere_do_not_matter(value, size):
    logits, labels = (torch.tensor(array) for array in example())
    broken = torch.where((labels == 255)[:, None], value, logits).requires_grad_()
    loss = keypoint_loss(broken, labels, size=size)
    loss.backward()
    torch.testing.assert_close(loss, keypoint_loss(logits, labels))
    assert broken.grad.isfinite().all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("size", [None, (24, 24)])
def test_no_keypoint_is_zero_with_a_graph(reduction, size):
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    labels = torch.full((2, *(size or (3, 3))), 255, dtype=torch.uint8)
    loss = keypoint_loss(logits, labels, size=size, reduction=reduction)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("size", [None, (5, 6)])
def test_half_precision_under_autocast_is_summed_in_float32(size):
    logits, labels = (torch.tensor(array) for array in example())
    half = logits.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = keypoint_loss(half, labels.to(torch.uint8), size=size)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, keypoint_loss(half.float(), labels, size=size))


def test_refusals():
    logits, labels = torch.zeros(2, 4, 5, 3), torch.zeros(2, 5, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"one B, came \(2, 4, 5, 3\), \(1, 5, 3\)"):
        keypoint_loss(logits, labels[:1])
    with pytest.raises(ValueError, match=r"\(2, 3, 5\).*give size"):
        keypoint_loss(logits, labels.transpose(1, 2))
    with pytest.raises(ValueError, match=r"within size \(4, 24\)"):
        keypoint_loss(logits, labels, size=(4, 24))
    with pytest.raises(ValueError, match="mean or sum"):
        keypoint_loss(logits, labels, reduction="none")
    for label in (4, -100, -1):  # -100: what torch ignores by itself
        with pytest.raises(IndexError):
            keypoint_loss(logits, labels + label)
