"""Polygons that people drew on source images, as label maps of the pool's images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.pool import Pool
from weakseg.supervision import decode_polygons, rasterise


@dataclass(frozen=True)
class View:
    """How an image of the pool was cut from its source file.

    Args:
        source: The source's image_id.
        size: Height and width of the image.
        origin: Its first row and column in the source; (0, 0) where it is all of it.
        original: Height and width of the source.
        split: Where it belongs.
    """

    source: str
    size: tuple[int, int]
    origin: tuple[int, int]
    original: tuple[int, int]
    split: str


def views(pool: Pool) -> Iterator[tuple[str, View]]:
    """How the images were cut, by image_id."""
    columns = ["image_id", "split", "height", "width", "origin_y", "origin_x", "source_height", "source_width"]
    tiled = pool.manifest["settings"]["tile"] is not None
    for row in pool.rows(columns):
        source = row["image_id"].rpartition("@")[0] if tiled else row["image_id"]
        size, origin = (row["height"], row["width"]), (row["origin_y"], row["origin_x"])
        original = row["source_height"], row["source_width"]
        yield row["image_id"], View(source, size, origin, original, row["split"])


class Drawn:
    """Label maps from the polygons that people drew on source images.

    Args:
        pool: The pool.
        table: Rows of the coarse table.

    Attributes:
        views: Of the training images whose source has polygons.
    """

    def __init__(self, pool: Pool, table: pa.Table) -> None:
        """Join polygons to the pool's images."""
        self._polygons = dict(zip(table["image_id"].to_pylist(), table["polygons"].to_pylist(), strict=True))
        self._tiled = pool.manifest["settings"]["tile"] is not None
        self.views = {
            image_id: view for image_id, view in views(pool) if view.split == "train" and view.source in self._polygons
        }

    def find(self, image_id: str) -> NDArray[np.uint8] | None:
        """The map of an image, or None where its source has no polygons."""
        if image_id not in self.views:
            return None
        view = self.views[image_id]
        polygons = decode_polygons(self._polygons[view.source])
        if not self._tiled:
            return rasterise(polygons, view.size, original_size=view.original)
        y, x = view.origin
        whole_HW = rasterise(polygons, view.original, original_size=view.original)
        return whole_HW[y : y + view.size[0], x : x + view.size[1]]
