"""Files of other annotation tools: their points, polygons and masks as shapes, and questions written for them."""

from pipelines.annotation.formats.read import read
from pipelines.annotation.formats.shapes import Shape
from pipelines.annotation.formats.write import write

__all__ = ["Shape", "read", "write"]
