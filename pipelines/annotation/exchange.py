"""`weakseg annotate --export FILE` and `--import FILE`: questions out, answers in, without the page."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.annotation.answers import Answer, Conflict, Place
from pipelines.annotation.desk import Desk
from pipelines.annotation.formats import read, write
from pipelines.annotation.formats.own import COLUMNS, VOID, WHOLE, void_mark
from pipelines.annotation.serve import open_desk
from pipelines.annotation.taken import Taken
from pipelines.config import Config
from pipelines.console import Console
from pipelines.drawn import View, views
from pipelines.ledger import Ledger
from pipelines.storage import open_storage
from weakseg import schema
from weakseg.errors import DataError

_SHOWN = 10
"""Faults in one message."""


def exchange(config: Config, console: Console, *, export: str | None, take: Sequence[str] | None) -> dict[str, Any]:
    """Take answers from files, then write questions and answers to one.

    Args:
        config: Names the run and its storage.
        console: Where to say what was done.
        export: The file to write; None = none.
        take: Files to take answers from.

    Returns:
        run, imported (answers that are new or changed), exported (questions written).

    Raises:
        DataError: A file is wrong: nothing of it is taken; file and entry are named.
        LedgerError: There is no such run.
    """
    ledger = Ledger.read(open_storage(config.storage.root), config.run)
    desk = open_desk(config, ledger)
    taken = written = 0
    for name in take or ():
        taken += import_file(desk, Path(name), say=console.line)
    if export is not None:
        written = export_file(desk, Path(export))
        console.line(f"{ledger.run}: {written} questions in {export}")
    desk.answers.close()
    return {"run": ledger.run, "imported": taken, "exported": written}


def export_file(desk: Desk, path: Path) -> int:
    """Write every question with each answer to it, or none; how many rows."""
    pool = desk.ledger.pool
    names, cut = pool.classes.names, dict(views(pool))
    files = _files({row["image_id"]: row["source"] for row in pool.rows(["image_id", "source"])})
    rows = []
    for number in sorted(desk.rounds):
        standing = desk.rounds[number]
        for question in standing.questions:
            round, kind, image_id, y, x, segment = question.place
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row |= {"round": round, "image_id": image_id, "kind": kind, "purpose": question.purpose}
            row |= {"y": None if y < 0 else y, "x": None if x < 0 else x, "segment": None if segment < 0 else segment}
            given = list(standing.given(question).values())
            for answer in given:
                rows.append(row | _answer(answer, names))
            if not given:
                rows.append(row)
    if path.name.lower().endswith(".via.json"):
        tiled = pool.manifest["settings"]["tile"] is not None
        asked = [row for row in rows if row["y"] is not None]
        rows = [row | _in_file(row["x"], row["y"], cut[row["image_id"]], tiled=tiled) for row in asked]
    write(path, rows, names=names, files=files, run=desk.ledger.run)
    return len(rows)


def import_file(desk: Desk, path: Path, *, say: Callable[[str], object] = lambda line: None) -> int:
    """Take the answers of a file, all or none; how many are new or changed.

    A point that a question asked for answers it; any other point is a label of its own. Areas are coarse labels. What
    the file gives as the answer of somebody who answered here takes the place of that answer; all else is the file's.

    Args:
        desk: The questions and answers of the run.
        path: The file.
        say: Takes what there is to tell, line by line.

    Raises:
        DataError: The file is wrong, or nothing was asked yet.
    """
    run = desk.ledger.run
    if desk.standing is None:
        raise DataError(f"{path.name}: run {run} has not asked anything yet: start the driver first")
    taken = Taken(desk, path.name)
    for shape in read(path):
        taken.add(shape)
    if taken.faults:
        more = len(taken.faults) - _SHOWN
        shown = [f"{path.name}: {fault}" for fault in taken.faults[:_SHOWN]]
        raise DataError("\n".join([*shown, f"and {more} more"] if more > 0 else shown))
    fresh: dict[tuple[Place, str], Answer] = {}
    for row in taken.rows():
        given = taken.current.get(row.place, {})
        before = given.get(row.annotator)
        if before is None or before.withdrawn:
            row, before = replace(row, annotator=taken.annotator), given.get(taken.annotator)
        if not _same(row, before):
            fresh[row.place, row.annotator] = _after(row, before)
    rows = list(fresh.values())
    try:
        for start in range(0, len(rows), 1000):
            desk.answers.add(rows[start : start + 1000])
    except Conflict as error:
        raise DataError(f"{path.name}: somebody answered there meanwhile; take the file again") from error
    say(f"{run}: {len(rows)} answers from {path}")
    corrected = sum(row.annotator != taken.annotator for row in rows)
    if corrected:
        say(f"{run}: {corrected} of them correct what the annotators that it names had answered")
    tied = _tied(desk, rows)
    if tied:
        say(f"{run}: {tied} of them differ from another answer, and nobody is left to be asked: they count as void")
    return len(rows)


def _tied(desk: Desk, rows: Sequence[Answer]) -> int:
    """How many rows answer a question that has no majority and that nobody else can be asked."""
    desk.refresh()
    found = ((desk.rounds[row.round], row.place) for row in rows)
    return sum(place in standing.by_place and standing.tied(standing.by_place[place]) for standing, place in found)


def _files(sources: Mapping[str, str]) -> dict[str, str]:
    """What the images' files are called: by their names, by their paths where another one has that name too."""
    often = Counter(PurePosixPath(source).name for source in set(sources.values()))
    names = {image_id: PurePosixPath(source).name for image_id, source in sources.items()}
    return {image_id: name if often[name] == 1 else sources[image_id] for image_id, name in names.items()}


def _in_file(x: int, y: int, view: View, *, tiled: bool) -> dict[str, float | int]:
    """A pixel in the image file: itself where nothing was resized, else its centre."""
    if tiled or view.size == view.original:
        return {"via_x": x + view.origin[1], "via_y": y + view.origin[0]}
    return {
        "via_x": (x + 0.5) * view.original[1] / view.size[1],
        "via_y": (y + 0.5) * view.original[0] / view.size[0],
    }


def _answer(answer: Answer, names: Sequence[str]) -> dict[str, Any]:
    void = VOID if answer.kind in WHOLE else void_mark(names)
    label = None if answer.class_id is None else void if answer.class_id == schema.VOID else names[answer.class_id]
    value = _value(answer)
    if value is not None and answer.kind == "proportions":
        value = dict(zip(names, value, strict=True))
    elif value is not None:
        value = [
            {"class": names[row["class_id"]], "points": row["points"], "holes": row.get("holes", [])} for row in value
        ]
    return {
        "class": label,
        "value": value,
        "annotator": answer.annotator,
        "seconds": None if answer.seconds is None else round(answer.seconds, 3),
        "labelled_at": answer.labelled_at,
    }


def _same(row: Answer, other: Answer | None) -> bool:
    return other is not None and (row.class_id, _value(row)) == (other.class_id, _value(other))


def _value(answer: Answer) -> Any:
    return None if answer.value is None else json.loads(answer.value)


def _after(row: Answer, before: Answer | None) -> Answer:
    return row if before is None else replace(row, supersedes=before.answer_id)
