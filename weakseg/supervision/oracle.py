"""The simulated annotator: it looks up the mask where it is asked, and nowhere else."""

import hashlib
import math
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from weakseg import seeding
from weakseg.errors import DataError
from weakseg.schema import LABELS, VOID


def answer(
    queries: pa.Table,
    masks: Callable[[str], NDArray[np.uint8]],
    *,
    classes: int,
    error_rate: float = 0.0,
    seconds: float = 1.42,
    seed: int,
    labelled_at: datetime,
) -> pa.Table:
    """Answer pixel queries from masks, now and then wrongly.

    A wrong answer is one of the other classes, all equally likely; void is never mistaken for a class nor a
    class for void. Errors are fixed by (seed, image, y, x) alone: the same pixel gets the same answer in any
    order, batch or round, and raising ``error_rate`` only adds errors.

    Args:
        queries: Rows of the queries table, all of kind ``pixel``.
        masks: Gives the (H, W) uint8 mask of an image id; called once per image asked about.
        classes: Number of classes; 1 is the sigmoid case with labels 0 and 1.
        error_rate: Share of wrong answers among those that are not void, 0..1.
        seconds: What an answer costs, in seconds (PixelPick measured 1.42).
        seed: The run's seed.
        labelled_at: When, with a time zone.

    Returns:
        Rows of the labels table, one per query in the queries' order; void (255) where the mask is void.

    Raises:
        ValueError: A query is not of kind ``pixel``, or an argument is out of range.
        DataError: A query lies outside its mask, or a mask holds a class that does not exist.
    """
    if classes < 1 or not 0 <= error_rate <= 1 or not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(
            f"expected classes >= 1, error_rate in 0..1 and seconds >= 0, got {classes}, {error_rate} and {seconds}"
        )
    if labelled_at.tzinfo is None:
        raise ValueError("expected labelled_at with a time zone")
    kinds = set(pc.unique(queries["kind"]).to_pylist()) - {"pixel"}
    if kinds:
        raise ValueError(f"the oracle answers queries of kind 'pixel', got {sorted(map(str, kinds))}")
    if queries["y"].null_count or queries["x"].null_count:
        raise ValueError("a query of kind 'pixel' has no y or x")
    image_ids: list[str] = queries["image_id"].to_pylist()
    y_N, x_N = queries["y"].to_numpy().astype(np.int64), queries["x"].to_numpy().astype(np.int64)
    values = max(classes, 2)
    class_N = _look_up(queries["image_id"], y_N, x_N, masks, values)
    positions = list(zip(image_ids, y_N.tolist(), x_N.tolist(), strict=True))
    if error_rate > 0:
        class_N = _with_errors(class_N, positions, values, error_rate, seed)
    rounds: list[int] = queries["round"].to_pylist()
    ids = [answer_id(image, "pixel", y, x, round=r) for (image, y, x), r in zip(positions, rounds, strict=True)]
    count = queries.num_rows
    columns = {
        **{name: queries[name] for name in ("image_id", "round", "kind", "y", "x", "segment")},
        "answer_id": pa.array(ids, pa.string()),
        "class_id": pa.array(class_N.astype(np.int16)),
        "annotator": pa.repeat("oracle", count),
        "seconds": pa.repeat(pa.scalar(seconds, pa.float32()), count),
        "labelled_at": pa.repeat(pa.scalar(labelled_at, pa.timestamp("us", tz="UTC")), count),
        "supersedes": pa.nulls(count, pa.string()),
    }
    return pa.table({name: columns[name] for name in LABELS.names}, schema=LABELS)


def answer_id(image_id: str, kind: str, y: int | None, x: int | None, *, round: int) -> str:
    """Name an answer by its question, so that answering twice makes one answer.

    Args:
        image_id: The image.
        kind: Kind of the query, such as ``pixel``.
        y: Row asked about, None where the question is not about a place.
        x: Column asked about.
        round: Round in which it was asked.

    Returns:
        32 hexadecimal digits.
    """
    key = "\x1f".join((image_id, kind, str(y), str(x), str(round)))
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _look_up(
    image_id: pa.ChunkedArray,
    y_N: NDArray[np.int64],
    x_N: NDArray[np.int64],
    masks: Callable[[str], NDArray[np.uint8]],
    values: int,
) -> NDArray[np.int64]:
    """The mask's value at every query, each mask opened once."""
    images = pc.unique(image_id)
    code_N = pc.index_in(image_id, value_set=images).to_numpy()
    order = np.argsort(code_N, kind="stable")
    ends = np.cumsum(np.bincount(code_N, minlength=len(images)))
    class_N = np.empty(y_N.size, np.int64)
    for image, rows in zip(images.to_pylist(), np.split(order, ends[:-1])[: len(images)], strict=True):
        mask_HW = masks(image)
        y, x = y_N[rows], x_N[rows]
        outside = (y < 0) | (x < 0) | (y >= mask_HW.shape[0]) | (x >= mask_HW.shape[1])
        if outside.any():
            at = int(np.argmax(outside))
            raise DataError(
                f"{image}: query at y={y[at]}, x={x[at]} lies outside the mask of {mask_HW.shape[0]}x{mask_HW.shape[1]}"
            )
        found = mask_HW[y, x].astype(np.int64)
        strange = (found >= values) & (found != VOID)
        if strange.any():
            raise DataError(f"{image}: the mask holds class {found[strange][0]}, but classes are 0..{values - 1}")
        class_N[rows] = found
    return class_N


def _with_errors(
    class_N: NDArray[np.int64], positions: list[tuple[str, int, int]], values: int, error_rate: float, seed: int
) -> NDArray[np.int64]:
    """Swap in wrong classes, void excepted."""
    # One hash per query instead of one generator: 63 random bits are all that is needed, at a tenth of the time.
    bits_N = np.fromiter(
        (seeding.integer(seed, "oracle-error", image_id=f"{image}:{y},{x}") for image, y, x in positions),
        np.int64,
        len(positions),
    )
    # Separate bits: 32 decide whether, 31 decide which.
    wrong_N = ((bits_N >> 31) / 2.0**32 < error_rate) & (class_N != VOID)
    step_N = 1 + (bits_N & (2**31 - 1)) % (values - 1)
    return np.where(wrong_N, (class_N + step_N) % values, class_N)
