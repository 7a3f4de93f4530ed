"""What annotation costs, in seconds of a person's time."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SECONDS: dict[str, float] = {"pixel": 1.42, "mask": 330.0, "proportions": 20.0}
"""Published times: a pixel (arXiv 2104.06394); a full mask and an image's class proportions (arXiv 2305.15608)."""


def annotation_seconds(labels: pa.Table, *, seconds: Mapping[str, float] | None = None) -> float:
    """Sum the time that answers took: every row counts, corrections and void answers as well.

    Args:
        labels: Rows of the labels table.
        seconds: Seconds per kind, for rows that do not say how long they took. None = ``SECONDS``.

    Returns:
        Seconds.

    Raises:
        ValueError: A row says no time and its kind has none in ``seconds``.
    """
    seconds = SECONDS if seconds is None else seconds
    total = float(labels["seconds"].to_numpy()[pc.is_valid(labels["seconds"]).to_numpy()].sum(dtype=np.float64))
    untimed = pc.value_counts(labels["kind"].filter(pc.is_null(labels["seconds"])))
    for kind, count in ((entry["values"].as_py(), entry["counts"].as_py()) for entry in untimed):
        if kind not in seconds:
            raise ValueError(f"no seconds for answers of kind {kind!r}: known are {', '.join(sorted(seconds))}")
        total += count * seconds[kind]
    return total


def masks_seconds(masks: int, *, seconds: float = SECONDS["mask"]) -> float:
    """What as many full masks cost.

    Args:
        masks: How many, at least 0.
        seconds: Seconds per mask.

    Returns:
        Seconds.

    Raises:
        ValueError: A number is negative.
    """
    if masks < 0 or seconds < 0:
        raise ValueError(f"expected masks >= 0 and seconds >= 0, got {masks} and {seconds}")
    return masks * seconds
