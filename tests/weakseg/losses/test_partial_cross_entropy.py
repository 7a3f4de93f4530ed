import numpy as np
import pytest
import torch

from weakseg.losses import partial_cross_entropy

WEIGHTS = np.array([0.5, 2.0, 0.0, 1.25])


def reference(logits, labels, weight=None, ignore_index=255):
    """Sum and divisor, pixel by pixel."""
    total = divisor = 0.0
    for b, y, x in np.ndindex(labels.shape):
        label = labels[b, y, x]
        if label == ignore_index:
            continue
        scores = logits[b, :, y, x]
        share = 1.0 if weight is None else weight[label]
        total += share * (np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label])
        divisor += share
    return total, divisor


def example(seed=0, ignore_index=255):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (2, 5, 3))
    labels[rng.random(labels.shape) < 0.6] = ignore_index
    return rng.normal(0, 3, (2, 4, 5, 3)), labels


@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("ignore_index", [255, -1])
def test_values(weight, ignore_index):
    logits, labels = example(ignore_index=ignore_index)
    total, divisor = reference(logits, labels, weight, ignore_index)
    options = {"ignore_index": ignore_index, "weight_C": None if weight is None else torch.tensor(weight)}
    tensors = torch.tensor(logits), torch.tensor(labels)
    assert partial_cross_entropy(*tensors, **options).item() == pytest.approx(total / divisor)
    assert partial_cross_entropy(*tensors, **options, reduction="sum").item() == pytest.approx(total)


@pytest.mark.parametrize("weight", [None, torch.tensor(WEIGHTS)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_by_finite_differences(weight, reduction):
    logits, labels = example(1)
    logits = torch.tensor(logits, requires_grad=True)
    labels = torch.tensor(labels)
    assert torch.autograd.gradcheck(
        lambda x: partial_cross_entropy(x, labels, weight_C=weight, reduction=reduction), logits
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("weight", "label"), [(None, 255), (torch.tensor(WEIGHTS), 255), (torch.tensor(WEIGHTS), 2)])
def test_no_label_is_zero_with_a_graph(weight, label, reduction):
    """Nor does a class of weight 0 (class 2) count as a label."""
    logits = torch.randn(2, 4, 5, 3, requires_grad=True)
    labels = torch.full((2, 5, 3), label)
    loss = partial_cross_entropy(logits, labels, weight_C=weight, reduction=reduction)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_uint8_labels_and_unlabelled_pixels_have_no_gradient():
    logits, labels = example(2)
    logits = torch.tensor(logits, requires_grad=True)
    partial_cross_entropy(logits, torch.tensor(labels, dtype=torch.uint8)).backward()
    has_gradient = logits.grad.abs().sum(1) > 0
    assert torch.equal(has_gradient, torch.tensor(labels != 255))


def test_half_precision_is_summed_in_float32():
    logits, labels = example(3)
    half = torch.tensor(logits).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = partial_cross_entropy(half, torch.tensor(labels))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(partial_cross_entropy(half.float(), torch.tensor(labels)).item(), rel=1e-6)


def test_refusals():
    logits, labels = torch.zeros(2, 4, 5, 3), torch.zeros(2, 5, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"\(2, 4, 5, 3\), \(2, 3, 5\)"):
        partial_cross_entropy(logits, labels.transpose(1, 2))
    with pytest.raises(ValueError, match="mean or sum"):
        partial_cross_entropy(logits, labels, reduction="none")
    with pytest.raises(IndexError):
        partial_cross_entropy(logits, labels + 4)
