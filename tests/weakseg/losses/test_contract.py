"""What every loss promises, whatever it reads."""

import pytest
import torch

from weakseg.losses import (
    consistency_weight,
    keypoint_loss,
    keypoint_weight,
    label_weight,
    partial_cross_entropy,
    point_cross_entropy,
    proportion_loss,
    proportion_weight,
    superpixel_consistency,
)

LOSSES = ("partial_cross_entropy", "point_cross_entropy", "keypoint_loss", "proportion_loss", "superpixel_consistency")


def case(name, classes, labelled=True, device="cpu"):
    """A function of (logits, reduction), and what its mean divides by."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, max(classes, 2), (2, 6, 5), generator=generator).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.5] = 255
    labels[1 if labelled else slice(None)] = 255
    at = (labels != 255).nonzero()
    segments = torch.randint(0, 4, (2, 6, 5), generator=generator).where(labels != 255, -1)
    proportions = torch.rand(2, classes, generator=generator)
    proportions[1 if labelled else slice(None)] = float("nan")
    labels, at, segments, proportions = (given.to(device) for given in (labels, at, segments, proportions))

    def probabilities(logits):
        return logits.sigmoid() if classes == 1 else logits.softmax(1)

    match name:
        case "partial_cross_entropy":
            return lambda z, r: partial_cross_entropy(z, labels, reduction=r), label_weight(labels)
        case "point_cross_entropy":
            values = labels[tuple(at.T)]
            return lambda z, r: point_cross_entropy(z, at, values, size=(6, 5), reduction=r), label_weight(values)
        case "keypoint_loss":
            return lambda z, r: keypoint_loss(z, labels, reduction=r), keypoint_weight(labels)
        case "proportion_loss":
            weight = proportion_weight(proportions)
            return lambda z, r: proportion_loss(probabilities(z), proportions, reduction=r), weight
        case "superpixel_consistency":
            weight = consistency_weight(segments)
            return lambda z, r: superpixel_consistency(probabilities(z), segments, reduction=r), weight


def logits(classes, dtype=torch.float32):
    return torch.randn(2, classes, 6, 5, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
class TestLoss:
    def test_the_mean_is_the_sum_over_the_weight(self, name, classes):
        loss, weight = case(name, classes)
        assert weight > 0
        assert weight.dtype == torch.float64
        total = loss(logits(classes), "sum")
        assert total > 0
        torch.testing.assert_close(loss(logits(classes), "mean"), (total / weight).float())

    def test_without_labels_it_is_zero_with_a_graph(self, name, classes):
        loss, weight = case(name, classes, labelled=False)
        assert weight == 0
        for reduction in ("mean", "sum"):
            z = logits(classes)
            value = loss(z, reduction)
            value.backward()
            assert value.item() == 0
            assert torch.equal(z.grad, torch.zeros_like(z))

    def test_an_image_without_labels_has_no_gradient(self, name, classes):
        loss, _ = case(name, classes)
        z = logits(classes)
        loss(z, "mean").backward()
        assert z.grad[0].abs().sum() > 0
        assert torch.equal(z.grad[1], torch.zeros_like(z[1]))

    def test_half_precision_under_autocast_is_summed_in_float32(self, name, classes):
        loss, _ = case(name, classes)
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(logits(classes, torch.bfloat16), "mean")
        assert value.dtype == torch.float32
        # the probabilities themselves may be made in half precision
        torch.testing.assert_close(value, loss(logits(classes, torch.bfloat16).float(), "mean"), rtol=0.02, atol=1e-3)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_gpu_agrees_with_the_cpu(self, name, classes):
        here, there = logits(classes), logits(classes).detach().cuda().requires_grad_()
        expected, found = case(name, classes)[0](here, "mean"), case(name, classes, device="cuda")[0](there, "mean")
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), expected)
        expected.backward()
        found.backward()
        torch.testing.assert_close(there.grad.cpu(), here.grad)

    def test_an_unknown_reduction_is_refused(self, name, classes):
        loss, _ = case(name, classes)
        with pytest.raises(ValueError, match="reduction must be mean or sum, came 'none'"):
            loss(logits(classes), "none")
