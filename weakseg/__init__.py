"""Semantic segmentation from cheap supervision: a few pixels per image instead of masks."""

__version__ = "0.1.0"
