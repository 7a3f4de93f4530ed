"""`weakseg annotate --export FILE` and `--import FILE`: questions out, answers in, without the page."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.annotation.answers import Answer, heads
from pipelines.annotation.desk import Desk
from pipelines.annotation.formats import Shape, read, write
from pipelines.annotation.formats.own import COLUMNS, OURS, VOID
from pipelines.annotation.serve import open_desk
from pipelines.config import Config
from pipelines.console import Console
from pipelines.drawn import View, views
from pipelines.ledger import Ledger
from pipelines.storage import open_storage
from weakseg import schema
from weakseg.errors import DataError
from weakseg.supervision import Polygon, encode_polygons

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
        count = import_file(desk, Path(name))
        console.line(f"{ledger.run}: {count} answers from {name}")
        taken += count
    if export is not None:
        written = export_file(desk, Path(export))
        console.line(f"{ledger.run}: {written} questions in {export}")
    desk.answers.close()
    return {"run": ledger.run, "imported": taken, "exported": written}


def export_file(desk: Desk, path: Path) -> int:
    """Write every question with each answer to it, or none; how many rows."""
    pool = desk.ledger.pool
    names, cut = pool.classes.names, dict(views(pool))
    files = {row["image_id"]: PurePosixPath(row["source"]).name for row in pool.rows(["image_id", "source"])}
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


def import_file(desk: Desk, path: Path) -> int:
    """Take the answers of a file, all or none; how many are new or changed.

    A point that a question asked for answers it; any other point is a label of its own. Areas are coarse labels.
    """
    newest = desk.standing
    if newest is None:
        raise DataError(f"{path.name}: run {desk.ledger.run} has not asked anything yet: start the driver first")
    taken = _Taken(desk, path.name)
    for shape in read(path):
        taken.add(shape)
    if taken.faults:
        more = len(taken.faults) - _SHOWN
        shown = [f"{path.name}: {fault}" for fault in taken.faults[:_SHOWN]]
        raise DataError("\n".join([*shown, f"and {more} more"] if more > 0 else shown))
    rows = taken.rows()
    current = heads(desk.answers.since())
    fresh = []
    for row in rows:
        before = current.get(row.place, {}).get(row.annotator)
        if before is None or (before.class_id, before.value) != (row.class_id, row.value):
            fresh.append(_after(row, before))
    for start in range(0, len(fresh), 1000):
        desk.answers.add(fresh[start : start + 1000])
    return len(fresh)


class _Taken:
    """The shapes of a file as answers, and what is wrong with them."""

    def __init__(self, desk: Desk, file: str) -> None:
        pool = desk.ledger.pool
        self.faults: list[str] = []
        self._annotator, self._desk = f"import:{file}", desk
        self._names = {name: number for number, name in enumerate(pool.classes.names)}
        self._cut = dict(views(pool))
        self._tiled = pool.manifest["settings"]["tile"] is not None
        self._images = _Names(list(self._cut), [view.source for view in self._cut.values()])
        self._train = set(pool.index("train").image_ids.to_pylist())
        self._asked = {
            (place[2], place[3], place[4], place[1]): place
            for number in sorted(desk.rounds)
            for place in desk.rounds[number].by_place
        }
        self._by_round = {place: place for standing in desk.rounds.values() for place in standing.by_place}
        self._coarse = desk.ledger.record["config"]["supervision"]["coarse"] == "people"
        self._points: dict[tuple[Any, ...], Answer] = {}
        self._areas: dict[str, list[Polygon]] = defaultdict(list)
        self._seconds: dict[str, float] = defaultdict(float)

    def add(self, shape: Shape) -> None:
        """One more shape."""
        found = self._images.find(shape.image)
        label = schema.VOID if shape.label == VOID and VOID not in self._names else self._names.get(shape.label or "")
        if label is None:
            self._fault(shape, f"unknown class {shape.label!r}; known: {', '.join(self._names)}")
        elif not found:
            self._fault(shape, f"no image {shape.image!r} among the {len(self._cut)} of the data set")
        elif shape.point is not None:
            self._point(shape, found, label)
        else:
            self._area(shape, found, label)

    def rows(self) -> list[Answer]:
        """What they come to: one row per point, one per image with areas."""
        newest = max(self._desk.rounds)
        rows = list(self._points.values())
        for image_id, polygons in self._areas.items():
            asked = next((place for place in self._by_round if place[1:3] == ("coarse", image_id)), None)
            round = newest if asked is None else asked[0]
            value = encode_polygons(polygons)
            seconds = self._seconds[image_id]
            rows.append(Answer(round, "coarse", image_id, -1, -1, -1, self._annotator, None, value, seconds))
        return rows

    def _point(self, shape: Shape, found: Sequence[str], label: int) -> None:
        assert shape.point is not None
        for image_id in found:
            place = _pixel(shape, self._cut[image_id], tiled=self._tiled)
            if place is None:
                continue
            y, x = place
            kind = "pixel" if shape.segment is None else "region"
            asked = self._asked.get((image_id, y, x, kind))
            if shape.round is not None:
                named = (shape.round, kind, image_id, y, x, -1 if shape.segment is None else shape.segment)
                asked = self._by_round.get(named, asked)
            if asked is None and (image_id not in self._train or kind == "region"):
                self._fault(shape, f"{image_id} is not asked there, and no training image: nothing may learn from it")
                return
            where = asked or (max(self._desk.rounds), "pixel", image_id, y, x, -1)
            self._points[where] = Answer(*where, self._annotator, label, None, shape.seconds)
            return
        self._fault(shape, f"the point {shape.point} lies outside the image")

    def _area(self, shape: Shape, found: Sequence[str], label: int) -> None:
        if not self._coarse:
            self._fault(shape, "areas are coarse labels, which this run does not read: start one with "
                        "--set supervision.coarse=people")  # fmt: skip
            return
        if label == schema.VOID:
            return  # what cannot be told is left unlabelled
        if len(found) > 1 or found[0] not in self._train:
            self._fault(shape, f"{shape.image} is no whole training image")
            return
        view = self._cut[found[0]]
        height, width = shape.size or view.original
        for area in shape.areas:
            first, *holes = (
                tuple((x * view.size[1] / width, y * view.size[0] / height) for x, y in ring) for ring in area
            )
            self._areas[found[0]].append(Polygon(label, first, tuple(holes)))
        if shape.areas:
            self._seconds[found[0]] += shape.seconds

    def _fault(self, shape: Shape, what: str) -> None:
        self.faults.append(f"{shape.where}: {what}")


class _Names:
    """Finds images by what other tools call them: paths, file names, with or without an ending."""

    def __init__(self, image_ids: Sequence[str], sources: Sequence[str]) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, set[str]] = defaultdict(set)
        for image_id, source in zip(image_ids, sources, strict=True):
            for name in {image_id, source}:
                self._exact[name].append(image_id)
                parts = name.split("/")
                for start in range(len(parts)):
                    self._ends["/".join(parts[start:])].add(source)
        self._of_source: dict[str, list[str]] = defaultdict(list)
        for image_id, source in zip(image_ids, sources, strict=True):
            self._of_source[source].append(image_id)

    def find(self, name: str) -> list[str]:
        """The image of a name, all windows of it where it was cut; none where it is unknown or could be several."""
        plain = name.replace("\\", "/").partition("?d=")[2] or name.replace("\\", "/")
        for text in (plain, plain.rpartition(".")[0] if "." in plain.rpartition("/")[2] else plain):
            if text in self._exact:
                return self._exact[text]
            parts = text.split("/")
            for start in range(len(parts)):
                for last in (parts[-1], _unprefixed(parts[-1])):
                    sources = self._ends.get("/".join([*parts[start:-1], last]), set())
                    if len(sources) == 1:
                        return self._of_source[next(iter(sources))]
        return []


def _unprefixed(name: str) -> str:
    """Label Studio puts eight hexadecimal digits and a hyphen before the name of what is uploaded."""
    head, hyphen, rest = name.partition("-")
    return rest if hyphen and re.fullmatch(r"[0-9a-f]{8}", head) else name


def _pixel(shape: Shape, view: View, *, tiled: bool) -> tuple[int, int] | None:
    """The pixel (y, x) of the pool's image in which a point of the annotated file lies; None outside."""
    assert shape.point is not None
    x, y = shape.point
    if shape.size != OURS:
        height, width = shape.size or view.original
        down, across = view.original if tiled else view.size
        x, y = x * across / width - view.origin[1], y * down / height - view.origin[0]
    row, column = int(y // 1), int(x // 1)
    return (row, column) if 0 <= row < view.size[0] and 0 <= column < view.size[1] else None


def _in_file(x: int, y: int, view: View, *, tiled: bool) -> dict[str, float | int]:
    """A pixel in the image file: itself where nothing was resized, else its centre."""
    if tiled or view.size == view.original:
        return {"via_x": x + view.origin[1], "via_y": y + view.origin[0]}
    return {
        "via_x": (x + 0.5) * view.original[1] / view.size[1],
        "via_y": (y + 0.5) * view.original[0] / view.size[0],
    }


def _answer(answer: Answer, names: Sequence[str]) -> dict[str, Any]:
    label = None if answer.class_id is None else VOID if answer.class_id == schema.VOID else names[answer.class_id]
    return {
        "class": label,
        "annotator": answer.annotator,
        "seconds": round(answer.seconds, 3),
        "labelled_at": answer.labelled_at,
    }


def _after(row: Answer, before: Answer | None) -> Answer:
    return row if before is None else replace(row, supersedes=before.answer_id)
