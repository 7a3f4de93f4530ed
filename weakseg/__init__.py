"""Semantic segmentation from cheap supervision: a few pixels per image instead of masks.

All of it is plain PyTorch and NumPy, each part usable without the others:

datasets      `Example`: an image with whatever is known of it; layouts of public data sets and of your own folder
transforms    the augmentation of image, points, masks and superpixels together
models        `build_model`: networks by name; superpixel upsampling
losses        one function per kind of label, and `objective`, their weighted sum over all ranks
training      `fit`: the loop, on one device or under DDP
inference     `probabilities`: images of any size through a model, in batches or by committee
tiled         the same in overlapping windows, for large images
prediction    `segment`: masks as a registered model gives them, whole or in windows
acquisition   how much a pixel's label would tell: margin, entropy, committees, regions
selection     which pixels, regions or images to ask about
supervision   labels as training reads them, from points, proportions, keypoints, polygons; what they cost
superpixels   SLIC, and means over its segments
metrics       IoU, boundaries, superpixels, calibration
figures       overlays, learning curves, reliability diagrams

`weakseg.losses` and the others are imported when they are first used. What runs on Ray is the package `pipelines`.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_PARTS = (
    *("acquisition", "datasets", "figures", "inference", "losses", "metrics", "models", "prediction", "selection"),
    *("superpixels", "supervision", "tiled", "training", "transforms"),
)


def __getattr__(name: str) -> ModuleType:
    """One of the parts."""
    if name in _PARTS:
        return import_module(f"weakseg.{name}")
    raise AttributeError(f"module 'weakseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The parts, and what else there is."""
    return sorted({*globals(), *_PARTS})
