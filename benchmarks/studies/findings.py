"""What a study found, from its records: means over seeds, paired differences, shares of full masks."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.studies.interval import Mean, interval

Records = Mapping[str, Mapping[str, Any]]


def summary(runs: Records, *, strategies: Sequence[str], baseline: str) -> dict[str, Any]:
    """Figures over the seeds that are finished; mIoU in 0..1.

    Args:
        runs: Records by key.
        strategies: Groups of runs that ask, in the order of the report.
        baseline: Of these, the one that the others are compared with.

    Returns:
        `curves` (per strategy and round: labels per image, validation mIoU), `final` (per group: validation and test of
        the last round), `minus_baseline` (paired over seeds), `share_of_masks` (paired over seeds).
    """
    groups = {name: by_seed(runs, name) for name in (*strategies, "masks")}
    groups = {name: found for name, found in groups.items() if found}
    found: dict[str, Any] = {
        "baseline": baseline,
        "curves": {},
        "final": {},
        "minus_baseline": {},
        "share_of_masks": {},
    }
    for name, records in groups.items():
        if name != "masks":
            found["curves"][name] = curve(list(records.values()))
        found["final"][name] = {split: interval(list(final(records, split).values())) for split in _splits(records)}
    for name in strategies:
        for against, kind, compared in (
            (baseline, "minus_baseline", lambda ours, theirs: ours - theirs),
            ("masks", "share_of_masks", lambda ours, theirs: ours / theirs),
        ):
            if name == against or name not in groups or against not in groups:
                continue
            pairs = {split: _paired(groups[name], groups[against], split) for split in ("validation", "test")}
            found[kind][name] = {
                split: interval([compared(*pair) for pair in both]) for split, both in pairs.items() if both
            }
    return found


def by_seed(runs: Records, group: str) -> dict[int, Mapping[str, Any]]:
    """The finished runs of a group."""
    return {record["seed"]: record for record in runs.values() if record["group"] == group}


def curve(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Validation mIoU by round, over the runs that have it."""
    rounds = max(len(record["rounds"]) for record in records)
    points = []
    for round in range(rounds):
        rows = [record["rounds"][round] for record in records if len(record["rounds"]) > round]
        labels = sum(row["labels_per_image"] for row in rows) / len(rows)
        miou = interval([row["validation"]["miou"] for row in rows])
        points.append({"labels_per_image": labels, "miou": miou})
    return points


def final(records: Mapping[int, Mapping[str, Any]], split: str) -> dict[int, float]:
    """Validation or test mIoU of the last round's model by seed; seeds without it are left out."""
    found = {}
    for seed, record in records.items():
        scores = record["rounds"][-1]["validation"] if split == "validation" else record["test"]
        if scores is not None:
            found[seed] = float(scores["miou"])
    return found


def text(found: Mapping[str, Any]) -> str:
    """The figures in words, mIoU in points."""
    lines = []
    for name, splits in found["final"].items():
        shown = "; ".join(f"{split} {_points(mean)}" for split, mean in splits.items())
        lines.append(f"{'full masks' if name == 'masks' else name}: {shown}")
    for name, splits in found["minus_baseline"].items():
        shown = "; ".join(f"{split} {_points(mean, sign='+')}" for split, mean in splits.items())
        lines.append(f"{name} minus {found['baseline']}: {shown}")
    for name, splits in found["share_of_masks"].items():
        shown = "; ".join(f"{split} {_points(mean, unit=' %')}" for split, mean in splits.items())
        lines.append(f"{name}, share of full masks: {shown}")
    if "full_mask_epochs" in found:
        tried = ", ".join(
            f"{epochs}: {100 * miou:.2f}" for epochs, miou in found["full_mask_epochs"]["validation"].items()
        )
        lines.append(
            f"full masks by epochs, validation of the first seed: {tried}; chosen {found['full_mask_epochs']['chosen']}"
        )
    return "\n".join(lines)


def _splits(records: Mapping[int, Mapping[str, Any]]) -> list[str]:
    return [split for split in ("validation", "test") if final(records, split)]


def _paired(
    ours: Mapping[int, Mapping[str, Any]], theirs: Mapping[int, Mapping[str, Any]], split: str
) -> list[tuple[float, float]]:
    mine, other = final(ours, split), final(theirs, split)
    return [(mine[seed], other[seed]) for seed in sorted(mine.keys() & other.keys())]


def _points(mean: Mean, *, sign: str = "", unit: str = "") -> str:
    value = f"{100 * mean['mean']:{sign}.2f}{unit}"
    if mean["low"] is None:
        return f"{value} (1 seed)"
    return f"{value} [{100 * mean['low']:{sign}.2f}, {100 * mean['high']:{sign}.2f}] ({mean['seeds']} seeds)"
