import pytest
import torch

from weakseg.models import Output, full_resolution


def upsampled(logits_hw, padded):
    """One channel, pixel by pixel: bilinear between cell centres, clamped at the border."""
    height, width = logits_hw.shape
    result = torch.zeros(padded)
    for y in range(padded[0]):
        for x in range(padded[1]):
            v = min(max((y + 0.5) * height / padded[0] - 0.5, 0), height - 1)
            u = min(max((x + 0.5) * width / padded[1] - 0.5, 0), width - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, across = v - top, u - left
            result[y, x] = (1 - down) * ((1 - across) * logits_hw[top, left] + across * logits_hw[top, right])
            result[y, x] += down * ((1 - across) * logits_hw[bottom, left] + across * logits_hw[bottom, right])
    return result


def test_bilinear_then_crop():
    logits = torch.randn(1, 1, 3, 2)
    full = full_resolution(Output(logits, None, (12, 8)), (10, 7))
    torch.testing.assert_close(full[0, 0], upsampled(logits[0, 0], (12, 8))[:10, :7])


def test_full_resolution_logits_pass_unchanged():
    logits = torch.randn(1, 2, 16, 16)
    assert torch.equal(full_resolution(Output(logits, None, (16, 16)), (5, 16)), logits[:, :, :5])


@pytest.mark.parametrize("size", [(17, 16), (16, 17), (0, 3)])
def test_a_size_outside_is_refused(size):
    with pytest.raises(ValueError, match=r"padded size \(16, 16\)"):
        full_resolution(Output(torch.randn(1, 2, 2, 2), None, (16, 16)), size)


def test_assignments_are_not_ignored():
    with pytest.raises(ValueError, match="assignments"):
        full_resolution(Output(torch.randn(1, 2, 2, 2), (torch.zeros(1),), (16, 16)), (16, 16))
