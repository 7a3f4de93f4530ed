"""The answers about regions as a training worker needs them: a dense, partial mask of image i."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from weakseg.errors import DataError
from weakseg.schema import VOID
from weakseg.supervision.labels import class_histogram, joined, offsets_of, rows_of


class RegionIndex:
    """Region labels sorted by image: three flat arrays that travel cheaply between processes.

    Like :class:`weakseg.supervision.PointIndex`, for labels of kind ``region``: 6 bytes per label, plus 8 per image.

    Attributes:
        offsets: (images + 1,) int64: image i owns rows offsets[i] to offsets[i + 1].
        segment: (N,) int32 segment ids, ascending within an image.
        class_id: (N,) int16, 255 = void.
    """

    __slots__ = ("class_id", "offsets", "segment")

    offsets: NDArray[np.int64]
    segment: NDArray[np.int32]
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
            DataError: A label is of an image that is not listed, or names no segment.
        """
        labels, image_N = joined(image_ids, labels, "region", subset=subset)
        if labels["segment"].null_count:
            raise DataError("a label of kind 'region' has no segment")
        segment_N = labels["segment"].to_numpy()
        order = np.lexsort((segment_N, image_N))
        self.offsets = offsets_of(image_N, len(image_ids))
        self.segment = segment_N[order].astype(np.int32)
        self.class_id = labels["class_id"].to_numpy()[order].astype(np.int16)

    def __len__(self) -> int:
        """Number of images."""
        return self.offsets.size - 1

    def regions(self, i: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What training reads of image i, for :func:`paint`: void answers are left out.

        Args:
            i: Index of the image, 0..len-1.

        Returns:
            (N,) int64 segments, ascending, and (N,) int64 classes. Copies.

        Raises:
            IndexError: No such image.
        """
        rows = rows_of(self.offsets, i)
        known = self.class_id[rows] != VOID
        return self.segment[rows][known].astype(np.int64), self.class_id[rows][known].astype(np.int64)

    def asked(self, i: int) -> NDArray[np.int64]:
        """The segments ever asked about in image i, void answers included: never to be asked again.

        Args:
            i: Index of the image, 0..len-1.

        Returns:
            (n,) int64, ascending. A copy.

        Raises:
            IndexError: No such image.
        """
        return self.segment[rows_of(self.offsets, i)].astype(np.int64)

    def was_asked(self, image_N: ArrayLike, segment_N: ArrayLike) -> NDArray[np.bool_]:
        """:meth:`asked` for the regions of a whole pool at once, as ``select_regions`` excludes them.

        Args:
            image_N: (N,) integer image indices.
            segment_N: (N,) integer segment ids.

        Returns:
            (N,) bool, True = was asked about, void answers included.

        Raises:
            ValueError: The shapes differ.
        """
        image_N, segment_N = np.asarray(image_N, np.int64), np.asarray(segment_N, np.int64)
        if image_N.shape != segment_N.shape:
            raise ValueError(f"expected one segment per image index, got {image_N.shape} and {segment_N.shape}")
        owner_M = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        # Ids are int32: image and segment fit side by side.
        return np.isin((image_N << 32) + segment_N, (owner_M << 32) + self.segment)

    def histogram(self, classes: int) -> NDArray[np.int64]:
        """Count regions per class over all images, void left out.

        Args:
            classes: Number of classes; 1 is the sigmoid case and counts two.

        Returns:
            (C,) int64.

        Raises:
            DataError: A label is neither a class nor void.
        """
        return class_histogram(self.class_id, classes)


def paint(segments_HW: ArrayLike, segments_N: ArrayLike, class_N: ArrayLike) -> NDArray[np.uint8]:
    """Give every pixel of a labelled segment the segment's class (Cai et al., CVPR 2021).

    Args:
        segments_HW: (H, W) integer segment ids of an image, or of a crop of it; -1 = no segment.
        segments_N: (N,) integer ids, each once, such as :meth:`RegionIndex.regions` gives. Those that a crop left out
            are passed over.
        class_N: (N,) integer classes 0..255.

    Returns:
        (H, W) uint8, 255 = unlabelled.

    Raises:
        ValueError: Ids are not integers, negative or there twice, a class is out of range, or the shapes do not fit.
    """
    segments_HW, segments_N, class_N = (np.asarray(array) for array in (segments_HW, segments_N, class_N))
    if segments_N.size == class_N.size == 0:
        segments_N, class_N = segments_N.astype(np.int64), class_N.astype(np.int64)  # of [] NumPy makes float64
    if segments_N.dtype.kind not in "iu" or class_N.dtype.kind not in "iu":
        raise ValueError(f"expected integer segments and classes, got {segments_N.dtype} and {class_N.dtype}")
    if segments_HW.ndim != 2 or segments_HW.dtype.kind not in "iu" or segments_HW.min(initial=0) < -1:
        raise ValueError(f"expected integer segments (H, W) from -1, got {segments_HW.dtype} {segments_HW.shape}")
    if segments_N.ndim != 1 or class_N.shape != segments_N.shape:
        raise ValueError(f"expected one class per segment, got {segments_N.shape} segments and {class_N.shape} classes")
    if segments_N.size and (segments_N.min() < 0 or np.unique(segments_N).size != segments_N.size):
        raise ValueError("expected every segment id once, from 0")
    if class_N.size and not 0 <= class_N.min() <= class_N.max() <= VOID:
        raise ValueError(f"expected classes 0..{VOID}, got {class_N.min()}..{class_N.max()}")
    # The last entry is that of id -1.
    class_of = np.full(int(segments_HW.max(initial=0)) + 2, VOID, np.uint8)
    there = segments_N < class_of.size - 1
    class_of[segments_N[there]] = class_N[there]
    mask_HW: NDArray[np.uint8] = class_of[segments_HW]
    return mask_HW
