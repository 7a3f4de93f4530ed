import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from weakseg.transforms import adjust_hue, gaussian_blur, jitter


def _image(seed, height=9, width=12):
    # eight grey levels: many ties between channels and many grey pixels, the special cases of the hue
    return torch.randint(0, 8, (3, height, width), generator=torch.Generator().manual_seed(seed)).float() / 7


@given(st.integers(0, 1000), st.floats(-0.5, 0.5))
@settings(deadline=None)
def test_hue_equals_torchvision(seed, shift):
    image = _image(seed)
    ours, theirs = adjust_hue(image, shift), v2.functional.adjust_hue(image, shift)
    torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=0)


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_no_hue_shift_changes_nothing(seed):
    torch.testing.assert_close(adjust_hue(_image(seed), 0.0), _image(seed), atol=1e-6, rtol=0)


@given(st.integers(0, 1000), st.integers(0, 8), st.floats(0.1, 2.0), st.sampled_from([1, 3]))
@settings(deadline=None)
def test_blur_equals_torchvision(seed, radius, sigma, channels):
    image = _image(seed)[:channels]
    kernel = 2 * radius + 1
    theirs = v2.functional.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
    torch.testing.assert_close(gaussian_blur(image, kernel, sigma), theirs, atol=5e-6, rtol=0)


@pytest.mark.parametrize(("kernel", "sigma"), [(4, 1.0), (19, 1.0), (-1, 1.0), (3, 0.0), (3, float("nan"))])
def test_blur_refuses_what_cannot_be(kernel, sigma):
    with pytest.raises(ValueError, match=r"expected an odd blur kernel below 18|positive sigma"):
        gaussian_blur(_image(0), kernel, sigma)


def test_jitter_follows_the_order():
    image = _image(3)
    factors = (1.6, 0.4, 1.5, 0.15)
    expected = v2.functional.adjust_brightness(image, 1.6)
    expected = v2.functional.adjust_hue(expected, 0.15)
    expected = v2.functional.adjust_saturation(expected, 1.5)
    expected = v2.functional.adjust_contrast(expected, 0.4)
    torch.testing.assert_close(jitter(image, factors=factors, order=(0, 3, 2, 1)), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(jitter(image, factors=factors, order=(1, 2, 3, 0)), expected, atol=0.05)


def test_jitter_with_neutral_factors_is_nothing():
    assert torch.equal(jitter(_image(3), factors=(1.0, 1.0, 1.0, 0.0), order=(0, 1, 2, 3)), _image(3))
