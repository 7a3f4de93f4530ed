"""What annotation costs, in seconds of a person's time."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SECONDS: dict[str, float] = {
    "pixel": 1.42,
    "region": 1.42,
    "keypoint": 1.42,
    "proportions": 20.0,
    "mask": 330.0,
    "coarse": 420.0,
}
"""Seconds per answer of each kind.

- ``pixel``: measured, arXiv 2104.06394.
- ``region``: the class of a superpixel. No published seconds are known (Cai et al., CVPR 2021, count clicks); it is one
  click as for a pixel and is taken to cost the same.
- ``keypoint``: a point that the annotator chooses. No published seconds are known; taken for one click as well, which
  leaves out looking for the place.
- ``proportions``, ``mask``: an image's class proportions and its full mask, arXiv 2305.15608.
- ``coarse``: coarse polygons. The time that Cityscapes' annotators were given, less than 7 minutes per image of
  1024x2048 (arXiv 1604.01685, section 2.2): an upper bound, and more than ``mask`` because those images are larger;
  their masks took more than 1.5 hours each.
"""


def annotation_seconds(
    labels: pa.Table, *, seconds: Mapping[str, float] | None = None, kind: str | None = None
) -> float:
    """Sum the time that answers took: every row counts, corrections and void answers as well.

    Args:
        labels: Rows of the labels table, or of another table of answers such as proportions.
        seconds: Seconds per kind, for rows that do not say how long they took. None = ``SECONDS``.
        kind: What all rows are, for a table without a column ``kind``.

    Returns:
        Seconds.

    Raises:
        ValueError: A row says no time and its kind has none in ``seconds``.
    """
    total = float(labels["seconds"].to_numpy()[pc.is_valid(labels["seconds"]).to_numpy()].sum(dtype=np.float64))
    if kind is not None:
        return total + bill({kind: labels["seconds"].null_count}, seconds=seconds)["total"]
    untimed = pc.value_counts(labels["kind"].filter(pc.is_null(labels["seconds"])))
    return total + bill({row["values"].as_py(): row["counts"].as_py() for row in untimed}, seconds=seconds)["total"]


def bill(counts: Mapping[str, float], *, seconds: Mapping[str, float] | None = None) -> dict[str, float]:
    """What answers of several kinds cost, so that kinds can be compared at equal cost.

    Args:
        counts: How many of each kind, at least 0.
        seconds: Seconds per kind. None = ``SECONDS``.

    Returns:
        Seconds by kind in the order given, and last their sum as ``total``.

    Raises:
        ValueError: A kind has no seconds, or a number is negative.
    """
    seconds = SECONDS if seconds is None else seconds
    unknown = sorted(repr(kind) for kind in counts if kind not in seconds)
    if unknown:
        raise ValueError(f"no seconds for answers of kind {', '.join(unknown)}: known are {', '.join(sorted(seconds))}")
    # Written the other way round, NaN would pass.
    wrong = {kind: (n, seconds[kind]) for kind, n in counts.items() if not (n >= 0 and seconds[kind] >= 0)}
    if wrong:
        raise ValueError(f"expected counts >= 0 and seconds >= 0, got {wrong}")
    by_kind = {kind: float(count * seconds[kind]) for kind, count in counts.items()}
    return {**by_kind, "total": sum(by_kind.values())}


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
