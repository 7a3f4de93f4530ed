"""A split of the pool as training reads it: images joined with their labels."""

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.pool import CACHE_BYTES, PartReader, Pool
from weakseg import codec
from weakseg.datasets import Example
from weakseg.supervision import PointIndex

Complete = Callable[[int, Example], Example]
"""Adds to an example, by its index in the split, what else is known of its image."""


class PoolExamples:
    """A split of the pool as examples for training (:class:`weakseg.datasets.Examples`).

    Args:
        pool: The pool.
        split: Which split.
        points: Its labels, indexed over ``pool.index(split).image_ids``; None = no points.
        complete: Adds what else the images bring, such as masks; None = nothing. It is handed in because only some
            stages may open masks.
        segments: Whether the examples hold superpixels.
        cache_bytes: Encoded images kept in memory.
    """

    def __init__(
        self,
        pool: Pool,
        split: str,
        *,
        points: PointIndex | None = None,
        complete: Complete | None = None,
        segments: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Join the pool's index with labels."""
        self._index = pool.index(split)
        if points is not None and len(points) != len(self._index):
            raise ValueError(f"points of {len(points)} images, but {split} has {len(self._index)}")
        self._points, self._complete = points, complete
        self._images = PartReader(pool, "images", "image", cache_bytes=cache_bytes)
        self._segments = (
            PartReader(pool, pool.superpixels, "segments", cache_bytes=cache_bytes // 4) if segments else None
        )
        self._row_group = pool.manifest["row_group"]

    @property
    def block_sizes(self) -> Sequence[int]:
        """How many of the split's images lie in each row group, in index order; they sum to the length."""
        group = self._index.row // self._row_group
        starts = np.flatnonzero(np.diff(self._index.part) | np.diff(group)) + 1
        return np.diff(np.concatenate([[0], starts, [len(self)]])).tolist() if len(self) else []

    def __len__(self) -> int:
        """Number of images."""
        return len(self._index)

    def __getitem__(self, index: int) -> Example:
        """One example; IndexError past the end."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        image_id = self._index.image_ids[index].as_py()
        part, row = int(self._index.part[index]), int(self._index.row[index])
        if self._points is None:
            points_N2, labels_N = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        else:
            points_N2, labels_N = self._points.points(index, void=True)
        example = Example(
            image_id=image_id,
            image_HW3=codec.decode_image(self._images(part, row)),
            points_N2=points_N2,
            labels_N=labels_N,
            segments_HW=None if self._segments is None else codec.decode_segments(self._segments(part, row)),
        )
        return example if self._complete is None else self._complete(index, example)
