import numpy as np
import pytest
import torch

from weakseg.superpixels import segment_mean


def _reference(values_BCHW: np.ndarray, segments_BHW: np.ndarray) -> np.ndarray:
    result = values_BCHW.copy()
    for b in range(len(values_BCHW)):
        for segment in set(segments_BHW[b].ravel().tolist()) - {-1}:
            inside = segments_BHW[b] == segment
            for c in range(values_BCHW.shape[1]):
                result[b, c][inside] = values_BCHW[b, c][inside].mean()
    return result


def _example(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(3, 4, 9, 7, generator=generator, dtype=torch.float64).to(dtype)
    segments = torch.randint(-1, 5, (3, 9, 7), generator=generator) * 7  # gaps between ids
    return values, segments.clamp(min=-1)


def test_equals_the_reference() -> None:
    values, segments = _example()
    expected = _reference(values.numpy(), segments.numpy())
    torch.testing.assert_close(segment_mean(values, segments), torch.from_numpy(expected))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_any_integer_ids(dtype: torch.dtype) -> None:
    values, segments = _example()
    segments = segments.clamp(min=0)
    torch.testing.assert_close(segment_mean(values, segments.to(dtype)), segment_mean(values, segments))


def test_ids_of_any_size_take_no_more_memory() -> None:
    values, segments = _example()
    large = torch.where(segments < 0, -1, segments + 2**50)
    assert torch.equal(segment_mean(values, large), segment_mean(values, segments))


def test_images_of_a_batch_are_independent() -> None:
    values, segments = _example()
    alone = torch.cat([segment_mean(values[b : b + 1], segments[b : b + 1]) for b in range(3)])
    assert torch.equal(segment_mean(values, segments), alone)


def test_padding_is_unchanged_and_has_no_pull() -> None:
    values, segments = _example()
    values.requires_grad_()
    padding = (segments == -1).unsqueeze(1).expand_as(values)
    assert padding.any()
    means = segment_mean(values, segments)
    assert torch.equal(means[padding], values[padding])
    (values - means).square().sum().backward()
    assert values.grad is not None
    assert (values.grad[padding] == 0).all()
    assert (values.grad[~padding] != 0).any()


def test_all_padding() -> None:
    values, segments = _example()
    assert torch.equal(segment_mean(values, torch.full_like(segments, -1)), values)


def test_any_number_below_zero_is_padding() -> None:
    values, segments = _example()
    expected = segment_mean(values, segments)
    assert torch.equal(segment_mean(values, torch.where(segments < 0, -7, segments)), expected)


def test_gradient() -> None:
    values, segments = _example()
    values = values[:, :2, :4, :4].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: segment_mean(v, segments[:, :4, :4]), (values,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype) -> None:
    # The sum of 4096 pixels, 409600, is more than a float16 can hold.
    values = torch.full((1, 1, 64, 64), 100.0, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        means = segment_mean(values, torch.zeros(1, 64, 64, dtype=torch.int64))
    assert means.dtype == dtype
    assert torch.equal(means, values)


def test_refuses_wrong_shapes_and_float_ids() -> None:
    values, segments = _example()
    with pytest.raises(ValueError, match="expected values"):
        segment_mean(values, segments[:, :-1])
    with pytest.raises(ValueError, match="integer"):
        segment_mean(values, segments.float())
