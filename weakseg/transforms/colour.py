"""What happens to the values: torchvision v2's colour operations, with hue and blur in equal but faster forms.

Hue and blur are most of the cost of the augmentation: torchvision goes to HSV and back, and blurs with a dense
two-dimensional kernel. Both are the same functions here, to float rounding (the tests compare them).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

# taps below this share of the sum change no float32 image: a wide kernel with a small sigma is mostly such taps
NEGLIGIBLE = 1e-7


def jitter(image_3HW: Tensor, *, factors: Sequence[float], order: Sequence[int]) -> Tensor:
    """Change brightness, contrast, saturation and hue, one after the other.

    Args:
        image_3HW: Float RGB in 0..1.
        factors: Brightness, contrast and saturation factors (1 = unchanged) and the hue shift in turns (0 = unchanged).
        order: A permutation of 0..3: which of the four comes first, second, ...

    Returns:
        Float RGB in 0..1.
    """
    operations = (
        v2.functional.adjust_brightness,
        v2.functional.adjust_contrast,
        v2.functional.adjust_saturation,
        adjust_hue,
    )
    neutral = (1.0, 1.0, 1.0, 0.0)
    for index in order:
        if factors[index] != neutral[index]:
            image_3HW = operations[index](image_3HW, factors[index])
    return image_3HW


def grey(image_3HW: Tensor) -> Tensor:
    """The luminance of an image, as one channel (1, H, W)."""
    grey_1HW: Tensor = v2.functional.rgb_to_grayscale(image_3HW, num_output_channels=1)
    return grey_1HW


def adjust_hue(image_3HW: Tensor, shift: float) -> Tensor:
    """Turn the hue and keep HSV's saturation and value; equals torchvision's ``adjust_hue``.

    With the hue h in sixths of a turn, value v and chroma c, each channel is v - c * clamp(d - 1, 0, 1), where d is
    the distance on the hue circle between h and the channel's own hue (red 0, green 2, blue 4).

    Args:
        image_3HW: Float RGB in 0..1.
        shift: In turns, -0.5..0.5.

    Returns:
        Float RGB in 0..1.
    """
    red, green, blue = image_3HW.unbind(0)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    scale = chroma.clamp_min(1e-12).reciprocal_()
    hue = torch.where(
        value == red,
        (green - blue).mul_(scale),
        torch.where(value == green, (blue - red).mul_(scale).add_(2), (red - green).mul_(scale).add_(4)),
    )
    out = torch.empty_like(image_3HW)
    for channel, own in enumerate((0, 2, 4)):
        apart = hue + (6 * shift - own)
        turns = torch.round(apart * (1 / 6))
        distance = apart.sub_(turns, alpha=6).abs_()
        torch.addcmul(value, chroma, distance.sub_(1).clamp_(0, 1), value=-1, out=out[channel])
    return out


def gaussian_blur(image_CHW: Tensor, kernel: int, sigma: float) -> Tensor:
    """Blur with a Gaussian and reflected borders; equals torchvision's ``gaussian_blur``.

    Two passes of one dimension, each a sum of shifted views of the flattened, padded image: what wraps round a row's
    end falls into the padding, which is cut off.

    Args:
        image_CHW: Float.
        kernel: Odd width of the kernel in pixels; at most 2 * min(H, W) - 1, as the border is reflected.
        sigma: Standard deviation in pixels.

    Returns:
        Float, of the same shape.

    Raises:
        ValueError: The kernel is even or too wide, or sigma is not positive.
    """
    channels, height, width = image_CHW.shape
    if kernel % 2 == 0 or not 0 < kernel < 2 * min(height, width):
        raise ValueError(
            f"expected an odd blur kernel below {2 * min(height, width)} for an image of {height}x{width}, got {kernel}"
        )
    if not sigma > 0:
        raise ValueError(f"expected a positive sigma, got {sigma}")
    taps = _half_kernel(kernel, sigma)
    radius = len(taps) - 1
    if radius == 0:
        return image_CHW
    padded = torch.nn.functional.pad(image_CHW, (radius,) * 4, mode="reflect")
    stride = padded.shape[2]
    flat = padded.reshape(-1)
    for step in (1, stride):
        count = flat.numel() - 2 * radius * step
        total = flat[radius * step : radius * step + count] * taps[0]
        for offset in range(1, radius + 1):
            before, after = (radius - offset) * step, (radius + offset) * step
            total.add_(flat[before : before + count], alpha=taps[offset])
            total.add_(flat[after : after + count], alpha=taps[offset])
        flat = total
    # both passes cut their radius off the front, so the first value left is the first pixel
    return flat.as_strided((channels, height, width), (padded.shape[1] * stride, stride, 1))


def _half_kernel(kernel: int, sigma: float) -> list[float]:
    """The Gaussian's weights from the centre outwards, normalised over the whole kernel, without negligible ones."""
    half = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(kernel // 2 + 1)]
    total = half[0] + 2 * sum(half[1:])
    return [tap / total for tap in half if tap / total >= NEGLIGIBLE]
