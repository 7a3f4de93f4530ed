"""How much of each class an image holds: counted from masks, and as a training worker needs it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from weakseg.errors import DataError
from weakseg.schema import PROPORTIONS, SUM_TOLERANCE, VOID
from weakseg.supervision.oracle import answer_id


def class_proportions(mask_HW: NDArray[np.integer], classes: int, *, ignore_index: int = VOID) -> NDArray[np.float32]:
    """The share of each class among the pixels of a mask that are not void (SPSS, arXiv 2305.15608, section 3).

    The paper's data sets have no void; where it is large, what is predicted there biases `proportion_loss`.

    Args:
        mask_HW: Integer class indices.
        classes: Number of classes; 1 is the sigmoid case, of labels 0 and 1.
        ignore_index: The code for void.

    Returns:
        (C,) float32 that sum to 1; for one class (1,), the foreground's share. NaN where all is void.

    Raises:
        ValueError: The mask is not (H, W) integers, or there is no class.
        DataError: The mask holds a class that does not exist.
    """
    if mask_HW.ndim != 2 or mask_HW.dtype.kind not in "iu" or classes < 1:
        raise ValueError(
            f"expected a mask (H, W) of integers and classes >= 1, "
            f"got {mask_HW.shape} of {mask_HW.dtype} and {classes} classes"
        )
    values = max(classes, 2)
    labels_N = mask_HW[mask_HW != ignore_index]
    if labels_N.size == 0:
        return np.full(classes, np.nan, np.float32)
    low, high = int(labels_N.min()), int(labels_N.max())
    if low < 0 or high >= values:
        raise DataError(f"the mask holds class {low if low < 0 else high}, but classes are 0..{values - 1}")
    shares_C = np.bincount(labels_N, minlength=values) / labels_N.size
    result_C: NDArray[np.float32] = shares_C[values - classes :].astype(np.float32)
    return result_C


def proportions_table(
    image_ids: Sequence[str],
    proportions_NC: ArrayLike,
    *,
    annotator: str | Sequence[str],
    seconds: float | Sequence[float | None] | None = None,
    labelled_at: datetime | None = None,
    round: int = 0,
) -> pa.Table:
    """Rows of the proportions table.

    Args:
        image_ids: One per row.
        proportions_NC: The shares; a row of NaN = the annotator cannot tell.
        annotator: Who said so, one for all or one per row.
        seconds: How long each took; None = not measured.
        labelled_at: When, with a time zone; None = not known.
        round: In which round it was asked.

    Returns:
        Rows with the schema ``PROPORTIONS``.

    Raises:
        ValueError: The lengths differ.
    """
    shares_NC = np.asarray(proportions_NC, np.float32)
    count = len(image_ids)
    if shares_NC.ndim != 2 or len(shares_NC) != count:
        raise ValueError(f"expected proportions (N, C) of {count} images, got {shares_NC.shape}")
    known_N = np.asarray(~np.isnan(shares_NC).any(axis=1))
    columns: dict[str, list[Any]] = {
        "answer_id": [answer_id(image_id, "proportions", None, None, round=round) for image_id in image_ids],
        "image_id": list(image_ids),
        "round": [round] * count,
        "proportions": [
            row.tolist() if known else None for row, known in zip(shares_NC, known_N.tolist(), strict=True)
        ],
        "annotator": [annotator] * count if isinstance(annotator, str) else list(annotator),
        "seconds": [seconds] * count if seconds is None or isinstance(seconds, int | float) else list(seconds),
        "labelled_at": [labelled_at] * count,
        "supersedes": [None] * count,
    }
    lengths = {name: len(values) for name, values in columns.items() if len(values) != count}
    if lengths:
        raise ValueError(f"expected {count} of each, as there are images, got {lengths}")
    return pa.table({name: pa.array(columns[name], PROPORTIONS.field(name).type) for name in PROPORTIONS.names})


class ProportionIndex:
    """The proportions of image i, at once: one small array that travels cheaply between processes.

    Corrections are resolved first: an answer that another ``supersedes`` is dropped, and of several of one image the
    last stays. The array is never written to, so that it may lie in shared memory.

    Attributes:
        proportions_NC: (images, C) float32; a row of NaN = none known.
    """

    __slots__ = ("proportions_NC",)

    proportions_NC: NDArray[np.float32]

    def __init__(
        self,
        image_ids: Sequence[str] | pa.Array | pa.ChunkedArray,
        table: pa.Table,
        *,
        classes: int,
        subset: bool = False,
    ) -> None:
        """Join proportions to images.

        Args:
            image_ids: Unique ids; their order is the order of the index.
            table: Rows of the proportions table, in the order in which they were written.
            classes: Number of classes C; 1 is the sigmoid case, which reads the foreground's share from rows of
                either one number or two, [background, foreground].
            subset: Leave out rows of images that are not listed, instead of refusing them.

        Raises:
            ValueError: An image id is there twice.
            DataError: A row is of an image that is not listed, has another number of classes, or holds shares that
                are negative or do not sum to 1.
        """
        ids = image_ids if isinstance(image_ids, pa.Array | pa.ChunkedArray) else pa.array(image_ids, pa.string())
        if pc.count_distinct(ids).as_py() != len(ids):
            raise ValueError("expected every image_id once, got duplicates")
        dropped = pc.drop_null(table["supersedes"]).combine_chunks()
        table = table.filter(pc.invert(pc.is_in(table["answer_id"], value_set=dropped)))
        images = pc.index_in(table["image_id"], value_set=ids)
        if subset:
            listed = pc.is_valid(images)
            table, images = table.filter(listed), images.filter(listed)
        elif images.null_count:
            unknown = pc.unique(table["image_id"].filter(pc.is_null(images)))
            raise DataError(
                f"proportions of {len(unknown)} image(s) that are not among the {len(ids)} expected, such as "
                f"{unknown[0].as_py()!r}: they belong to another pool, or to another split"
            )
        self.proportions_NC = np.full((len(ids), classes), np.nan, np.float32)
        self.proportions_NC[images.to_numpy()] = _shares(table, classes)  # of several rows of one image the last stays

    def __len__(self) -> int:
        """Number of images."""
        return len(self.proportions_NC)

    def proportions(self, i: int) -> NDArray[np.float32]:
        """What training reads of image i.

        Args:
            i: Index of the image, 0..len-1.

        Returns:
            (C,) float32, NaN where none are known. A copy.

        Raises:
            IndexError: No such image.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"expected an image index in 0..{len(self) - 1}, got {i}")
        shares_C: NDArray[np.float32] = self.proportions_NC[i].copy()
        return shares_C


def _shares(table: pa.Table, classes: int) -> NDArray[np.float32]:
    """The table's proportions as one array, NaN for null."""
    known_N = pc.is_valid(table["proportions"]).to_numpy()
    known = table.filter(pa.array(known_N))
    lengths_M = pc.list_value_length(known["proportions"]).to_numpy()
    width = 2 if classes == 1 and lengths_M.size and lengths_M[0] == 2 else classes
    if (lengths_M != width).any():
        at = int(np.argmax(lengths_M != width))
        raise DataError(
            f"{known['image_id'][at].as_py()}: proportions of {lengths_M[at]} classes, expected {width}: "
            f"they belong to other classes"
        )
    values_MC = pc.list_flatten(known["proportions"]).to_numpy().reshape(-1, width)
    sums_M = values_MC.sum(axis=1)
    # Written the other way round, NaN would pass.
    right_M = (values_MC >= 0).all(axis=1) & (sums_M <= 1 + SUM_TOLERANCE)
    if width > 1:
        right_M &= sums_M >= 1 - SUM_TOLERANCE
    if not right_M.all():
        at = int(np.argmin(right_M))
        expected = "at least 0 that sum to 1" if width > 1 else "in 0..1"
        raise DataError(f"{known['image_id'][at].as_py()}: expected shares {expected}, got {values_MC[at].tolist()}")
    shares_NC = np.full((table.num_rows, classes), np.nan, np.float32)
    shares_NC[known_N] = values_MC[:, width - classes :]
    return shares_NC
