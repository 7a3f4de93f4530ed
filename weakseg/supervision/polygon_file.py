"""Polygons that people drew elsewhere, from a JSON file.

Its form::

    {"images": [{"image_id": "street/0001", "annotator": "anna", "seconds": 35.0,
                 "labelled_at": "2026-03-01T09:30:00+00:00",
                 "polygons": [{"class": "road", "points": [[0, 300], [640, 290], [640, 480], [0, 480]],
                               "holes": [[[10, 400], [60, 400], [60, 440]]]}]}]}

Points are [x, y] in pixels of the original image file, right way up: x to the right and y down from its outer
corner, so that [0, 0] to [width, height] is the whole image. Programs that count pixels instead are half a pixel
off, which does not matter here. The first point may be repeated at the end. ``annotator``, ``seconds`` (a person's
time for the image), ``labelled_at`` (with a time zone) and ``holes`` may be left out or null.
"""

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from weakseg.datasets.classes import Classes
from weakseg.errors import DataError
from weakseg.schema import COARSE
from weakseg.supervision.oracle import answer_id
from weakseg.supervision.polygons import Points, Polygon, encode_polygons

_SHOWN = 10
"""Faults in one message; a file for another pool has thousands."""

_EXAMPLE = '{"images": [{"image_id": "a", "polygons": [{"class": "road", "points": [[0, 0], [9, 0], [9, 9]]}]}]}'


def read_polygons(
    path: str | Path,
    *,
    classes: Classes,
    image_ids: Collection[str] | pa.Array | pa.ChunkedArray,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> pa.Table:
    """Read coarse labels from a file (see the module for its form) and check all of them.

    Args:
        path: The JSON file, UTF-8.
        classes: Those of the data set; the file names them.
        image_ids: All images that may occur; they need not.
        sizes: (height, width) of the original image of each id, to find points outside; None or a missing id =
            not checked.

    Returns:
        Rows of the coarse table (:data:`weakseg.schema.COARSE`), one per image in the order of the file. Who is
        not named is called `import:FILE`; seconds and labelled_at are null where the file does not say.

    Raises:
        DataError: No such file, not JSON, or faulty: one line per fault, ten at most, with its place in the file,
            such as `images[3].polygons[0].points[2]`. Unknown or repeated images, unknown classes or fields, fewer
            than 3 different points, points outside the image, values of another type.
    """
    path = Path(path)
    content = _load(path)
    faults = _Faults()
    rows = []
    if faults.fields(content, "", {"images"}, {"images"}):
        seen: dict[str, str] = {}
        known = set(image_ids.to_pylist() if isinstance(image_ids, pa.Array | pa.ChunkedArray) else image_ids)
        for number, entry in enumerate(faults.items(content["images"], "images")):
            row = _image(entry, f"images[{number}]", faults, classes, known, sizes or {}, seen)
            rows.append(row | {"annotator": row.get("annotator") or f"import:{path.name}"})
    if faults.lines:
        more = len(faults.lines) - _SHOWN
        shown = [f"{path.name}: {line}" for line in faults.lines[:_SHOWN]]
        raise DataError("\n".join([*shown, f"and {more} more"] if more > 0 else shown))
    return pa.Table.from_pylist(rows, schema=COARSE)


class _Faults:
    """What is wrong, line by line, and the checks that add to it."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.lines: list[str] = []

    def add(self, where: str, what: str) -> None:
        """One more fault."""
        self.lines.append(f"{where}: {what}" if where else what)

    def fields(self, value: Any, where: str, needed: set[str], known: set[str]) -> bool:
        """Whether a value is an object with all the fields it needs; unknown ones are faults too."""
        if not isinstance(value, dict):
            self.add(where, f"expected an object with {', '.join(sorted(needed))}, got {_show(value)}")
            return False
        for name in sorted(set(value) - known):
            self.add(where, f"unknown field {name!r}; known: {', '.join(sorted(known))}")
        for name in sorted(needed - set(value)):
            self.add(where, f"no field {name!r}")
        return needed <= set(value)

    def items(self, value: Any, where: str) -> list[Any]:
        """The items of a list; none of anything else."""
        if isinstance(value, list):
            return value
        self.add(where, f"expected a list, got {_show(value)}")
        return []


def _load(path: Path) -> Any:
    try:
        # utf-8-sig: some editors write a byte order mark.
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except FileNotFoundError as error:
        raise DataError(f"no {path.name} (looked for {path}): write one, such as {_EXAMPLE}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} cannot be read as JSON ({error}): write it as {_EXAMPLE}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Python would keep the last of two lists of polygons and drop the other.
    twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    if twice:
        raise ValueError(f"field {', '.join(map(repr, twice))} twice in one object")
    return dict(pairs)


def _image(
    entry: Any,
    where: str,
    faults: _Faults,
    classes: Classes,
    known: Collection[str],
    sizes: Mapping[str, tuple[int, int]],
    seen: dict[str, str],
) -> dict[str, Any]:
    """One row of the table, as far as the entry can be understood."""
    needed = {"image_id", "polygons"}
    if not faults.fields(entry, where, needed, needed | {"annotator", "seconds", "labelled_at"}):
        return {}
    image_id = entry["image_id"]
    if not isinstance(image_id, str) or image_id not in known:
        faults.add(f"{where}.image_id", f"no image {_show(image_id)} among the {len(known)} of the data set")
    elif image_id in seen:
        faults.add(f"{where}.image_id", f"{image_id!r} is already at {seen[image_id]}: join their polygons")
    else:
        seen[image_id] = where
    size = sizes.get(image_id) if isinstance(image_id, str) else None
    polygons = [
        _polygon(polygon, f"{where}.polygons[{number}]", faults, classes, size)
        for number, polygon in enumerate(faults.items(entry["polygons"], f"{where}.polygons"))
    ]
    annotator, seconds = entry.get("annotator"), entry.get("seconds")
    if annotator is not None and not (isinstance(annotator, str) and annotator):
        faults.add(f"{where}.annotator", f"expected a name, got {_show(annotator)}")
    if seconds is not None and ((time := _number(seconds)) is None or time < 0):
        faults.add(f"{where}.seconds", f"expected a number of seconds >= 0, got {_show(seconds)}")
    labelled_at = _time(entry.get("labelled_at"), f"{where}.labelled_at", faults)
    if faults.lines:
        return {}  # no table will be made: what follows only looks for further faults
    return {
        "answer_id": answer_id(image_id, "coarse", None, None, round=0),
        "image_id": image_id,
        "round": 0,
        "polygons": encode_polygons(polygon for polygon in polygons if polygon is not None),
        "annotator": annotator,
        "seconds": seconds,
        "labelled_at": labelled_at,
    }


def _polygon(entry: Any, where: str, faults: _Faults, classes: Classes, size: tuple[int, int] | None) -> Polygon | None:
    needed = {"class", "points"}
    if not faults.fields(entry, where, needed, needed | {"holes"}):
        return None
    if entry["class"] not in classes.names:
        faults.add(f"{where}.class", f"unknown class {_show(entry['class'])}; known: {', '.join(classes.names)}")
    points = _points(entry["points"], f"{where}.points", faults, size)
    holes = [] if entry.get("holes") is None else faults.items(entry["holes"], f"{where}.holes")
    rings = [_points(hole, f"{where}.holes[{number}]", faults, size) for number, hole in enumerate(holes)]
    if faults.lines:
        return None
    return Polygon(classes.names.index(entry["class"]), points, tuple(rings))


def _points(entry: Any, where: str, faults: _Faults, size: tuple[int, int] | None) -> Points:
    """The points that can be understood."""
    points = []
    for number, pair in enumerate(faults.items(entry, where)):
        x, y = map(_number, pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if x is None or y is None:
            faults.add(f"{where}[{number}]", f"expected [x, y] in pixels, got {_show(pair)}")
            continue
        if size is not None and not (0 <= x <= size[1] and 0 <= y <= size[0]):
            faults.add(
                f"{where}[{number}]", f"[{x:g}, {y:g}] lies outside the image of width {size[1]} and height {size[0]}"
            )
        points.append((x, y))
    if len(points) > 1 and points[0] == points[-1]:
        points.pop()
    if isinstance(entry, list) and len(set(points)) < 3:
        faults.add(where, f"expected at least 3 different points, got {len(set(points))}")
    return tuple(points)


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _time(value: Any, where: str, faults: _Faults) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is None:
        faults.add(where, f"expected a time such as 2026-03-01T09:30:00+00:00, got {_show(value)}")
    return time


def _show(value: Any) -> str:
    """A value in a message, cut short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
