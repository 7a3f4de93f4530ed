import pyarrow as pa
import pytest

from weakseg.schema import LABELS
from weakseg.supervision import annotation_seconds, masks_seconds


def _labels(*rows: tuple[str, float | None]) -> pa.Table:
    return pa.Table.from_pylist([{"kind": kind, "seconds": seconds} for kind, seconds in rows], schema=LABELS)


def test_recorded_times_are_summed_and_missing_ones_filled_by_kind() -> None:
    assert annotation_seconds(LABELS.empty_table()) == 0
    assert annotation_seconds(_labels(("pixel", 2.5), ("pixel", 0.5), ("pixel", 0.0))) == 3
    mixed = _labels(("pixel", 2.0), ("pixel", None), ("mask", None), ("pixel", None))
    assert annotation_seconds(mixed) == pytest.approx(2 + 2 * 1.42 + 330)
    assert annotation_seconds(mixed, seconds={"pixel": 1, "mask": 10}) == pytest.approx(14)


def test_a_kind_without_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'coarse'.*mask, pixel"):
        annotation_seconds(_labels(("coarse", None)))
    assert annotation_seconds(_labels(("coarse", 4.0))) == 4


def test_many_small_times_do_not_drown() -> None:
    count = 200_000
    labels = pa.table(
        {
            name: pa.repeat(pa.scalar(1.42, pa.float32()), count)
            if name == "seconds"
            else pa.nulls(count, LABELS.field(name).type)
            for name in LABELS.names
        },
        schema=LABELS,
    )
    assert annotation_seconds(labels) == pytest.approx(1.42 * count, rel=1e-6)


def test_masks() -> None:
    assert masks_seconds(3) == 990
    assert masks_seconds(2, seconds=5) == 10
    with pytest.raises(ValueError, match="expected masks"):
        masks_seconds(-1)
