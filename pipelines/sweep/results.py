"""What a sweep's trials add up to: one row per point, and the pictures of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.config import Config
from pipelines.config.faults import show
from pipelines.config.space import words
from pipelines.summary import annotation_time, percent
from pipelines.sweep.plan import Trial
from weakseg.figures import accuracy_over_cost, heat_map
from weakseg.metrics import pareto_front

MOST_CELLS = 16
"""Rows or columns of a heat map; drawn numbers have more values than that and make none."""

UNSCORED = ("stopped", "diverged", "invalid")
"""What a record says that has no score to compare: ASHA ended the trial, its training diverged, its point cannot be."""

NAMES = {"miou": "mIoU", "boundary_f1": "boundary F1"}

Row = dict[str, Any]

_BUDGET = ("labelling.pixels_per_image", "labelling.rounds")
"""Which fields of section `labelling` say how much is asked."""
_CLASS_WEIGHTS = "loss.class_weights"
"""The one field of section `loss` that is no weight of a term."""


def compares(record: Mapping[str, Any]) -> bool:
    """Whether a trial went to its end."""
    return not any(record.get(why) for why in UNSCORED)


def rows(trials: Sequence[Trial], records: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """One row per point, in the order of the trials.

    Args:
        trials: All trials, also those without a record.
        records: The trials' outcomes by name; those without a score to compare have one of UNSCORED.

    Returns:
        `point`, `trials` (planned), `finished`, `stopped`, `diverged`, `invalid`, `score` and `sd` (over the seeds that
        were finished; None where there are none, or too few), `seconds` (of annotation, mean), `front` (whether no
        other point beats it).
    """
    points: dict[str, list[Trial]] = {}
    for trial in trials:
        points.setdefault(json.dumps(trial.point), []).append(trial)
    found = []
    for members in points.values():
        told = [records[trial.name] for trial in members if trial.name in records]
        whole = [record for record in told if compares(record)]
        scores = [record["score"] for record in whole if record["score"] is not None]
        found.append(
            {
                "point": members[0].point,
                "trials": len(members),
                "finished": len(whole),
                **{why: sum(bool(record.get(why)) for record in told) for why in UNSCORED},
                "score": float(np.mean(scores)) if scores else None,
                "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
                "seconds": float(np.mean([record["seconds"] for record in whole])) if whole else None,
                "front": False,
            }
        )
    scored = [row for row in found if row["score"] is not None]
    front = pareto_front([row["seconds"] for row in scored], [row["score"] for row in scored])
    for row, on_front in zip(scored, front, strict=True):
        row["front"] = bool(on_front)
    return found


def best(table: Sequence[Row]) -> Row | None:
    """The row with the highest mean score, of those with most trials finished; of equal ones the cheapest."""
    scored = [row for row in table if row["score"] is not None]
    if not scored:
        return None
    return max(scored, key=lambda row: (row["finished"], row["score"], -row["seconds"]))


def columns(config: Config) -> list[str]:
    """The heads of the table."""
    assert config.sweep is not None
    sd = " ± sd" if len(config.sweep.seeds or ()) > 1 else ""
    return ["point", f"{NAMES[config.sweep.metric]}{sd}", "annotation", "trials", "front"]


def line(row: Row, *, chosen: bool) -> list[str]:
    """A row as it is printed; the chosen one has a star."""
    score = percent(row["score"]) + ("" if row["sd"] is None else f" ± {100 * row['sd']:.1f}")
    others = "".join(f", {row[why]} {why}" for why in UNSCORED if row[why])
    return [
        words(row["point"]) + (" *" if chosen else ""),
        score,
        "-" if row["seconds"] is None else annotation_time(row["seconds"]),
        f"{row['finished']} of {row['trials']}{others}",
        "front" if row["front"] else "",
    ]


def figures(config: Config, table: Sequence[Row]) -> dict[str, bytes]:
    """`heatmap.png`, where two fields have values enough for one, and `front.png`; none without a score.

    Args:
        config: The sweep's configuration.
        table: Its rows.
    """
    assert config.sweep is not None
    name = NAMES[config.sweep.metric]
    scored = [row for row in table if row["score"] is not None]
    if not scored:
        return {}
    found = {
        "front.png": accuracy_over_cost(
            [row["seconds"] for row in scored],
            [row["score"] for row in scored],
            deviations_N=[row["sd"] for row in scored],
            labels_N=[_short(row["point"]) for row in scored],
            score_name=name,
        )
    }
    axes = _axes(list(table[0]["point"]))
    if axes is not None:
        down, right = axes
        downs, rights = (_values(table, field) for field in (down, right))
        if 1 < max(len(downs), len(rights)) <= MOST_CELLS:
            cells = [[_cell(scored, {down: y, right: x}) for x in rights] for y in downs]
            others = len(table[0]["point"]) - 2
            more = f" (mean over {others} other field{'s' if others > 1 else ''})" if others else ""
            found["heatmap.png"] = heat_map(
                cells, rows=[_word(y) for y in downs], columns=[_word(x) for x in rights], row_name=down,
                column_name=right, score_name=name + more,
            )  # fmt: skip
    return found


def _axes(fields: Sequence[str]) -> tuple[str, str] | None:
    """The fields down and to the right: a weight of the loss over the budget, where both are swept."""
    if len(fields) < 2:
        return None
    weights = sorted((name for name in fields if name.startswith("loss.")), key=lambda name: name == _CLASS_WEIGHTS)
    asked = sorted((name for name in fields if name.startswith("labelling.")), key=lambda name: name not in _BUDGET)
    return (weights[0], asked[0]) if weights and asked else (fields[0], fields[1])


def _values(table: Sequence[Row], field: str) -> list[Any]:
    """A field's values: numbers by size, anything else as listed."""
    found = {json.dumps(row["point"][field]): row["point"][field] for row in table}
    values = list(found.values())
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values


def _cell(scored: Sequence[Row], point: Mapping[str, Any]) -> float | None:
    scores = [row["score"] for row in scored if all(row["point"][name] == value for name, value in point.items())]
    return float(np.mean(scores)) if scores else None


def _word(value: Any) -> str:
    return value if isinstance(value, str) else show(value)


def _short(point: Mapping[str, Any]) -> str:
    """A point beside its mark: the last part of each field's name is enough."""
    return words({name.rpartition(".")[2]: value for name, value in point.items()})
