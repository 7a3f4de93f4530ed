"""The label table as a training worker needs it: the points of image i, at once, for millions of labels."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from weakseg.errors import DataError
from weakseg.schema import VOID
from weakseg.supervision.labels import class_histogram, joined, offsets_of, rows_of


class PointIndex:
    """Pixel labels sorted by image: three flat arrays that travel cheaply between processes.

    Corrections are resolved first (:func:`current`); only labels of kind ``pixel`` are points. 10 bytes per
    label, plus 8 per image. The arrays are never written to, so that they may lie in shared memory.

    Attributes:
        offsets: (images + 1,) int64: image i owns rows offsets[i] to offsets[i + 1].
        yx: (N, 2) int32 pixel positions, sorted by (y, x) within an image.
        class_id: (N,) int16, 255 = void.
    """

    __slots__ = ("class_id", "offsets", "yx")

    offsets: NDArray[np.int64]
    yx: NDArray[np.int32]
    class_id: NDArray[np.int16]

    def __init__(
        self, image_ids: Sequence[str] | pa.Array | pa.ChunkedArray, labels: pa.Table, *, subset: bool = False
    ) -> None:
        """Join labels to images.

        Args:
            image_ids: Unique ids; their order is the order of the index.
            labels: Rows of the labels table, in the order in which they were written.
            subset: Leave out labels of images that are not listed, instead of refusing them.

        Raises:
            ValueError: An image id is there twice.
            DataError: A label is of an image that is not listed, or has no position.
        """
        labels, image_N = joined(image_ids, labels, "pixel", subset=subset)
        if labels["y"].null_count or labels["x"].null_count:
            raise DataError("a label of kind 'pixel' has no y or x")
        y_N, x_N = labels["y"].to_numpy(), labels["x"].to_numpy()
        order = np.lexsort((x_N, y_N, image_N))
        self.offsets = offsets_of(image_N, len(image_ids))
        self.yx = np.stack([y_N[order], x_N[order]], axis=1).astype(np.int32)
        self.class_id = labels["class_id"].to_numpy()[order].astype(np.int16)

    def __len__(self) -> int:
        """Number of images."""
        return self.offsets.size - 1

    def points(self, i: int, *, void: bool = False) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What training reads of image i.

        Args:
            i: Index of the image, 0..len-1.
            void: Give void answers too, as class 255: nothing learns from them, but a pixel that nobody could name
                gets no label from its segment either.

        Returns:
            (N, 2) float32 of (y, x), an integer = a pixel's centre, and (N,) int64 classes. Copies.

        Raises:
            IndexError: No such image.
        """
        rows = rows_of(self.offsets, i)
        known = np.full(rows.stop - rows.start, True) if void else self.class_id[rows] != VOID
        return self.yx[rows][known].astype(np.float32), self.class_id[rows][known].astype(np.int64)

    def asked(self, i: int) -> NDArray[np.int64]:
        """What was ever asked of image i, void answers included: never to be asked again.

        Args:
            i: Index of the image, 0..len-1.

        Returns:
            (n, 2) int64 of (y, x). A copy.

        Raises:
            IndexError: No such image.
        """
        return self.yx[rows_of(self.offsets, i)].astype(np.int64)

    def histogram(self, classes: int) -> NDArray[np.int64]:
        """Count labels per class over all images, void left out.

        Args:
            classes: Number of classes; 1 is the sigmoid case and counts two.

        Returns:
            (C,) int64.

        Raises:
            DataError: A label is neither a class nor void.
        """
        return class_histogram(self.class_id, classes)
