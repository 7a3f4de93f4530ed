"""The joint transform of images, points, masks and segments."""

from weakseg.transforms.colour import adjust_hue, gaussian_blur, jitter
from weakseg.transforms.geometry import Window, place, warp_image, warp_map, warp_points, warp_sparse
from weakseg.transforms.joint import IMAGENET_MEAN, Augmentation, Sample, augment

__all__ = [
    "IMAGENET_MEAN",
    "Augmentation",
    "Sample",
    "Window",
    "adjust_hue",
    "augment",
    "gaussian_blur",
    "jitter",
    "place",
    "warp_image",
    "warp_map",
    "warp_points",
    "warp_sparse",
]
