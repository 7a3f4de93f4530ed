import pyarrow as pa
import pytest

from weakseg.schema import LABELS
from weakseg.supervision import SECONDS, annotation_seconds, bill, masks_seconds


def _labels(*rows: tuple[str, float | None]) -> pa.Table:
    return pa.Table.from_pylist([{"kind": kind, "seconds": seconds} for kind, seconds in rows], schema=LABELS)


def test_recorded_times_are_summed_and_missing_ones_filled_by_kind() -> None:
    assert annotation_seconds(LABELS.empty_table()) == 0
    assert annotation_seconds(_labels(("pixel", 2.5), ("pixel", 0.5), ("pixel", 0.0))) == 3
    mixed = _labels(("pixel", 2.0), ("pixel", None), ("mask", None), ("pixel", None))
    assert annotation_seconds(mixed) == pytest.approx(2 + 2 * 1.42 + 330)
    assert annotation_seconds(mixed, seconds={"pixel": 1, "mask": 10}) == pytest.approx(14)


def test_a_kind_without_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'scribble'.*coarse, keypoint, mask, pixel"):
        annotation_seconds(_labels(("scribble", None)))
    assert annotation_seconds(_labels(("scribble", 4.0))) == 4


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


def test_a_table_without_kinds() -> None:
    answers = pa.table({"seconds": pa.array([12.0, None, None], pa.float32())})
    assert annotation_seconds(answers, kind="proportions") == 52
    assert annotation_seconds(answers, kind="proportions", seconds={"proportions": 1}) == 14
    with pytest.raises(ValueError, match="'scribble'"):
        annotation_seconds(answers, kind="scribble")


def test_a_bill_by_kind() -> None:
    assert bill({"proportions": 3, "mask": 2, "region": 0}) == {
        "proportions": 60,
        "mask": 660,
        "region": 0,
        "total": 720,
    }
    assert list(bill({"mask": 1, "coarse": 1})) == ["mask", "coarse", "total"]
    assert bill({"pixel": 10, "own": 2}, seconds={"pixel": 2, "own": 0.5}) == {"pixel": 20, "own": 1, "total": 21}
    assert bill({}) == {"total": 0}
    for kind, seconds in SECONDS.items():
        assert bill({kind: 2})["total"] == pytest.approx(2 * seconds)


def test_a_bill_that_cannot_be_made() -> None:
    with pytest.raises(
        ValueError, match="kind 'box', 'scribble': known are coarse, keypoint, mask, pixel, proportions, region"
    ):
        bill({"scribble": 1, "pixel": 1, "box": 1})
    with pytest.raises(ValueError, match="counts >= 0"):
        bill({"pixel": -1})
    with pytest.raises(ValueError, match="seconds >= 0"):
        bill({"pixel": 1}, seconds={"pixel": float("nan")})
