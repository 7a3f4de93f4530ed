import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.losses import partial_cross_entropy, point_cross_entropy
from weakseg.models import Output, full_resolution


def reference(logits, points, labels, size, weight=None):
    """Mean over labelled points; each reads four cells, one at a time."""
    total = divisor = 0.0
    height, width = logits.shape[2:]
    for (b, y, x), label in zip(points, labels, strict=True):
        if label == 255:
            continue
        v = min(max((y + 0.5) * height / size[0] - 0.5, 0), height - 1)
        u = min(max((x + 0.5) * width / size[1] - 0.5, 0), width - 1)
        scores = np.zeros(logits.shape[1])
        for row in range(height):
            for column in range(width):
                scores += logits[int(b), :, row, column] * max(0, 1 - abs(v - row)) * max(0, 1 - abs(u - column))
        share = 1.0 if weight is None else weight[label]
        total += share * (np.log(np.exp(scores).sum()) - scores[label])
        divisor += share
    return total / divisor


@st.composite
def batches(draw):
    batch, classes = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(st.sampled_from([1, 4, 8]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.integers(0, classes, (batch, height * stride, width * stride))
    labels[rng.random(labels.shape) > draw(st.floats(0, 0.2))] = 255
    logits = rng.normal(0, 2, (batch, classes, height, width))
    weight = rng.random(classes) if draw(st.booleans()) else None
    return torch.tensor(logits), torch.tensor(labels), None if weight is None else torch.tensor(weight)


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from(["mean", "sum"]))
def test_equals_partial_cross_entropy_on_upsampled_logits(batch, reduction):
    """In value and gradient, for every labelled pixel up to the border."""
    logits, labels, weight = batch
    points = (labels != 255).nonzero()
    size = (labels.shape[1], labels.shape[2])
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    full = full_resolution(Output(theirs, None, size), size)
    expected = partial_cross_entropy(full, labels, weight_C=weight, reduction=reduction)
    loss = point_cross_entropy(
        ours, points.float(), labels[tuple(points.T)], size=size, weight_C=weight, reduction=reduction
    )
    expected.backward()
    loss.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.25])])
def test_points_between_pixels_and_outside(weight):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 4, 3, 5))
    points = np.stack([rng.integers(0, 2, 40), rng.uniform(-2, 26, 40), rng.uniform(-2, 42, 40)], axis=1)
    labels = rng.choice([0, 1, 2, 3, 255], 40)
    loss = point_cross_entropy(
        torch.tensor(logits),
        torch.tensor(points),
        torch.tensor(labels),
        size=(24, 40),
        weight_C=None if weight is None else torch.tensor(weight),
    )
    assert loss.item() == pytest.approx(reference(logits, points, labels, (24, 40), weight))


def test_gradient_by_finite_differences():
    rng = np.random.default_rng(1)
    logits = torch.tensor(rng.normal(0, 2, (2, 3, 2, 3)), requires_grad=True)
    points = torch.tensor(np.stack([rng.integers(0, 2, 9), rng.uniform(0, 15, 9), rng.uniform(0, 23, 9)], axis=1))
    labels = torch.tensor(rng.choice([0, 1, 2, 255], 9))
    assert torch.autograd.gradcheck(lambda x: point_cross_entropy(x, points, labels, size=(16, 24)), logits)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("count", [0, 3])
def test_no_label_is_zero_with_a_graph(count, reduction):
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    points, labels = torch.zeros(count, 3), torch.full((count,), 255)
    loss = point_cross_entropy(logits, points, labels, size=(24, 24), reduction=reduction)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_under_autocast_is_summed_in_float32():
    logits = torch.randn(2, 4, 3, 3).to(torch.bfloat16)
    points, labels = torch.rand(50, 3) * torch.tensor([2, 23, 23]), torch.randint(0, 4, (50,))
    with torch.autocast("cpu", torch.bfloat16):
        loss = point_cross_entropy(logits, points, labels, size=(24, 24))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, point_cross_entropy(logits.float(), points, labels, size=(24, 24)))


def test_gradient_has_the_same_bits_with_many_threads_and_points():
    """Many points on few cells: sums of gradients must not depend on who comes first."""
    logits = torch.randn(2, 11, 18, 24, requires_grad=True)
    points = torch.rand(20_000, 3) * torch.tensor([1.999, 143, 191])
    points[:, 0].floor_()
    labels = torch.randint(0, 11, (20_000,))
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        gradients = [
            torch.autograd.grad(point_cross_entropy(logits, points, labels, size=(144, 192)), logits)[0]
            for _ in range(5)
        ]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_refusals():
    logits = torch.zeros(2, 4, 3, 3)
    with pytest.raises(ValueError, match=r"points N3"):
        point_cross_entropy(logits, torch.zeros(5, 2), torch.zeros(5), size=(24, 24))
    with pytest.raises(ValueError, match=r"\(5, 3\), \(4,\)"):
        point_cross_entropy(logits, torch.zeros(5, 3), torch.zeros(4), size=(24, 24))
    with pytest.raises(IndexError):
        point_cross_entropy(logits, torch.full((1, 3), 2.0), torch.zeros(1), size=(24, 24))
