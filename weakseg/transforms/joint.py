"""The joint transform of image, points, dense mask and segments: PixelPick's augmentation (arXiv 2104.06394)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from weakseg.schema import VOID
from weakseg.supervision.proportions import class_proportions
from weakseg.transforms import colour, geometry

if TYPE_CHECKING:
    from weakseg.datasets.examples import Example

IMAGENET_MEAN = (0.485, 0.456, 0.406)


@dataclass(frozen=True)
class Augmentation:
    """How much images are changed. The defaults are the paper's.

    Args:
        scale: Smallest and largest factor of the resize, drawn uniformly.
        crop: Height and width of what is cut out (padded where the image is smaller), None = the image's own size.
        flip: Probability of mirroring left to right.
        jitter: Largest change of brightness, contrast, saturation and hue, as in torchvision's ColorJitter.
        jitter_probability: Probability of the colour jitter.
        grey: Probability of dropping the colour.
        blur: Probability of the Gaussian blur.
        blur_kernel: Width of its kernel as a share of the short side of the crop.
        blur_sigma: Smallest and largest standard deviation of the blur, in pixels.
    """

    scale: tuple[float, float] = (0.5, 2.0)
    crop: tuple[int, int] | None = None
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2)
    jitter_probability: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    blur_kernel: float = 0.1
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        """Refuse what no image can be changed by."""
        for name in ("scale", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: expected two positive numbers in rising order, got {low} and {high}")
        for name in ("flip", "jitter_probability", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a probability in 0..1, got {getattr(self, name)}")
        if len(self.jitter) != 4 or min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise ValueError(f"jitter: expected four numbers of at least 0, hue at most 0.5, got {self.jitter}")
        if not 0 <= self.blur_kernel <= 1:
            raise ValueError(f"blur_kernel: expected a share of the short side in 0..1, got {self.blur_kernel}")
        if self.crop is not None and min(self.crop) < 1:
            raise ValueError(f"crop: expected height and width of at least 1, got {self.crop}")


@dataclass(frozen=True)
class Sample:
    """One example as the network sees it.

    Args:
        image_3HW: float32 RGB in 0..1, not normalised.
        points_N2: float32 (y, x); an integer is a pixel's centre.
        labels_N: int64 class of each point; void ones are left out.
        mask_HW: uint8 class indices, 255 = void or padding; None where the example has no mask.
        segments_HW: int32 segment ids, -1 = padding; None where the example has none.
        keypoints_HW: uint8 classes of keypoints, 255 = none; None where the example has none.
        proportions_C: float32 share of each class in the content, its void left out; None where it is not known.
        content: Top, left, bottom, right (exclusive) of what is image and not padding.
    """

    image_3HW: Tensor
    points_N2: Tensor
    labels_N: Tensor
    mask_HW: Tensor | None
    segments_HW: Tensor | None
    keypoints_HW: Tensor | None
    proportions_C: Tensor | None
    content: tuple[int, int, int, int]


def augment(
    example: "Example",
    augmentation: Augmentation | None,
    *,
    rng: torch.Generator,
    fill: tuple[float, float, float] = IMAGENET_MEAN,
) -> Sample:
    """Change one example at random, the same way every time for the same generator state.

    The colours are changed before the padding is added, so that padding always has the colour ``fill``. All random
    numbers are drawn at once: how many a draw takes never depends on its outcome.

    Args:
        example: See :class:`weakseg.datasets.Example`.
        augmentation: What to change; None = only the conversion to float.
        rng: Where every random number comes from.
        fill: RGB of padding in 0..1: the mean that the model subtracts.

    Returns:
        The sample. A point is dropped where the crop leaves it out, and is never doubled or resampled.

    Raises:
        ValueError: The crop leaves part of an image out whose proportions cannot be counted anew.
    """
    image_3HW = _tensor(example.image_HW3).permute(2, 0, 1)
    points_N2, labels_N = _tensor(example.points_N2).reshape(-1, 2), _tensor(example.labels_N)
    named_N = labels_N != VOID
    points_N2, labels_N = points_N2[named_N], labels_N[named_N]
    mask_HW = None if example.mask_HW is None else _tensor(example.mask_HW)
    segments_HW = None if example.segments_HW is None else _tensor(example.segments_HW)
    keypoints_HW = None if example.keypoints_HW is None else _tensor(example.keypoints_HW)
    proportions_C = None if example.proportions_C is None else _tensor(example.proportions_C)
    height, width = image_3HW.shape[1:]
    if augmentation is None:
        image_3HW = v2.functional.to_dtype(image_3HW.contiguous(), torch.float32, scale=True)
        content = (0, 0, height, width)
        return Sample(image_3HW, points_N2, labels_N, mask_HW, segments_HW, keypoints_HW, proportions_C, content)

    draws = torch.rand(16, generator=rng, dtype=torch.float64).tolist()
    window = geometry.place(
        (height, width),
        augmentation.crop or (height, width),
        scale=_between(augmentation.scale, draws[0]),
        down=draws[1],
        across=draws[2],
        flip=draws[3] < augmentation.flip,
    )
    seen_3HW = v2.functional.to_dtype(geometry.warp_image(image_3HW, window).contiguous(), torch.float32, scale=True)
    seen_3HW = _recolour(seen_3HW, augmentation, short_side=min(window.size), draws=draws[4:])
    known = proportions_C is not None and not bool(proportions_C.isnan().all())
    if known and example.counted_HW is None and window.cuts:
        raise ValueError(
            f"{example.image_id}: its proportions hold for the whole image, of which the crop leaves a part: "
            "augment with scale at most 1 and crop None, or give counted_HW, the mask to count them in"
        )
    if example.counted_HW is not None and proportions_C is not None:
        counted_HW = geometry.warp_map(_tensor(example.counted_HW), window, fill=VOID).numpy()
        proportions_C = torch.from_numpy(class_proportions(counted_HW, len(proportions_C)))
    points_N2, kept_N = geometry.warp_points(points_N2, window)
    return Sample(
        geometry.pad(seen_3HW, window, fill=torch.tensor(fill).reshape(3, 1, 1)),
        points_N2,
        labels_N[kept_N],
        None if mask_HW is None else geometry.warp_map(mask_HW, window, fill=VOID),
        None if segments_HW is None else geometry.warp_map(segments_HW, window, fill=-1),
        None if keypoints_HW is None else geometry.warp_sparse(keypoints_HW, window, none=VOID),
        proportions_C,
        window.content,
    )


def _recolour(image_3HW: Tensor, augmentation: Augmentation, *, short_side: int, draws: list[float]) -> Tensor:
    """Jitter, grey and blur by twelve draws; what is grey comes back as one channel."""
    if draws[0] < augmentation.jitter_probability:
        *gains, hue = augmentation.jitter
        factors = [_between((max(0.0, 1 - gain), 1 + gain), draw) for gain, draw in zip(gains, draws[1:4], strict=True)]
        factors.append(_between((-hue, hue), draws[4]))
        order = sorted(range(4), key=lambda index: draws[5 + index])
        image_3HW = colour.jitter(image_3HW, factors=factors, order=order)
    if draws[9] < augmentation.grey:
        image_3HW = colour.grey(image_3HW)
    if draws[10] < augmentation.blur:
        radius = int(augmentation.blur_kernel * short_side) // 2
        # the border is reflected, which takes an image wider than the radius
        kernel = 2 * min(radius, min(image_3HW.shape[1:]) - 1) + 1
        image_3HW = colour.gaussian_blur(image_3HW, kernel, _between(augmentation.blur_sigma, draws[11]))
    return image_3HW


def _between(limits: tuple[float, float], draw: float) -> float:
    """The number at ``draw`` in 0..1 of the way from the lower to the upper limit."""
    return limits[0] + (limits[1] - limits[0]) * draw


def _tensor(array: np.ndarray) -> Tensor:
    """Share the array's memory where torch can: it wants it writable, though nothing here writes."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
