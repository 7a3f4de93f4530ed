"""Which pixels to ask about, and what the questions looked like."""

from weakseg.selection.pixels import select_pixels
from weakseg.selection.statistics import query_statistics

__all__ = ["query_statistics", "select_pixels"]
