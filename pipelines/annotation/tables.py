"""From the answers to the tables that training reads: what is new since the rounds before, each row once.

A table of a round holds what arrived before it was written and no table before holds: the round's own answers, late
ones of earlier rounds (marked with the round in which they were asked), and corrections.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotation.answers import Answer, Place, heads
from pipelines.annotation.asked import CHECKS
from pipelines.annotation.consensus import decide
from weakseg.schema import COARSE, LABELS, PROPORTIONS, VOID
from weakseg.supervision import answer_id

CONSENSUS = "consensus"
"""The annotator of a row that settles what several people answered: the majority, else void."""


@dataclass(frozen=True)
class Tables:
    """New rows, in order of writing.

    Attributes:
        labels: Of pixels and regions to train on.
        checks: Of control points and held-out points, in the form of labels: nothing is trained on them.
        proportions: Of whole images.
        coarse: Of whole images.
    """

    labels: pa.Table
    checks: pa.Table
    proportions: pa.Table
    coarse: pa.Table


def new_rows(answers: Iterable[Answer], purposes: Mapping[Place, str], published: Collection[str]) -> Tables:
    """Rows that no table holds yet.

    Args:
        answers: All answers to questions of the rounds so far.
        purposes: Why each question was asked; what nobody asked (imported answers) is trained on.
        published: The answer_ids in the tables of earlier rounds.
    """
    rows = {row.answer_id: row for row in answers}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("labels", "checks", "proportions", "coarse")}
    current = heads(rows.values())
    for place in sorted(current, key=lambda place: (place[0], min(row.seq for row in current[place].values()))):
        kind, by_name = place[1], sorted(current[place].values(), key=lambda row: row.seq)
        made = [row for head in by_name if (row := _record(head, rows, published)) is not None]
        if made and kind in ("pixel", "region") and len(by_name) > 1:
            made.append(_settled(place, by_name))
        name = kind if kind in found else "checks" if purposes.get(place) in CHECKS else "labels"
        found[name] += made
    return Tables(
        pa.Table.from_pylist([_label(row) for row in found["labels"]], schema=LABELS),
        pa.Table.from_pylist([_label(row) for row in found["checks"]], schema=LABELS),
        pa.Table.from_pylist(
            [_with(row, "proportions", _shares(row)) for row in found["proportions"]], schema=PROPORTIONS
        ),
        pa.Table.from_pylist([_with(row, "polygons", row["value"] or "[]") for row in found["coarse"]], schema=COARSE),
    )


def given(labels: pa.Table) -> pa.Table:
    """What people answered, without the rows that settle it.

    Args:
        labels: Rows of the labels table.
    """
    return labels.filter(pc.not_equal(labels["annotator"], CONSENSUS))


def _record(head: Answer, rows: Mapping[str, Answer], published: Collection[str]) -> dict[str, Any] | None:
    """The end of a chain as a row; None where it is written already, or nothing is left to say."""
    if head.answer_id in published:
        return None
    before: Answer | None = rows.get(head.supersedes)
    while before is not None and before.answer_id not in published:
        before = rows.get(before.supersedes)
    if head.withdrawn and before is None:
        return None  # nobody has read what was taken back
    _, kind, image_id, y, x, segment = head.place
    return {
        "answer_id": head.answer_id,
        "image_id": image_id,
        "round": head.round,
        "kind": kind,
        "y": None if y < 0 else y,
        "x": None if x < 0 else x,
        "segment": None if segment < 0 else segment,
        "class_id": VOID if head.class_id is None else head.class_id,
        "value": head.value,
        "annotator": recorded(head.annotator),
        "seconds": head.seconds,
        "labelled_at": datetime.fromisoformat(head.labelled_at),
        "supersedes": None if before is None else before.answer_id,
    }


def recorded(annotator: str) -> str:
    """An annotator as the tables name them: ``browser:NAME``, or ``import:FILE``."""
    return annotator if annotator.startswith("import:") else f"browser:{annotator}"


def _settled(place: Place, by_name: Sequence[Answer]) -> dict[str, Any]:
    """The row that counts where several people answered: of the rows about one place the last one does."""
    given = [row for row in by_name if not row.withdrawn]
    found = decide([row.class_id for row in given if row.class_id is not None])
    round, kind, image_id, y, x, segment = place
    made_of = "\x1f".join(row.answer_id for row in by_name)
    return {
        "answer_id": answer_id(made_of, CONSENSUS, y, x, round=round, segment=segment),
        "image_id": image_id,
        "round": round,
        "kind": kind,
        "y": None if y < 0 else y,
        "x": None if x < 0 else x,
        "segment": None if segment < 0 else segment,
        "class_id": VOID if found is None else found,
        "annotator": CONSENSUS,
        "seconds": 0.0,
        "labelled_at": datetime.fromisoformat(max(row.labelled_at for row in by_name)),
        "supersedes": None,
    }


def _label(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in LABELS.names}


def _with(row: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    kept = ("answer_id", "image_id", "round", "annotator", "seconds", "labelled_at", "supersedes")
    return {**{key: row[key] for key in kept}, name: value}


def _shares(row: Mapping[str, Any]) -> list[float] | None:
    return None if row["value"] is None else json.loads(row["value"])
