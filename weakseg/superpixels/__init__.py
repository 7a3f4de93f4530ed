"""Superpixels: SLIC once per image, and means over its segments."""

from weakseg.superpixels.segment_mean import segment_mean
from weakseg.superpixels.slic import slic

__all__ = ["segment_mean", "slic"]
