"""Proportions that people wrote into a table: read with every fault at once."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pyarrow as pa

from weakseg.errors import DataError
from weakseg.schema import SUM_TOLERANCE
from weakseg.supervision.proportions import proportions_table

_FAULTS_SHOWN = 10


class _Row(NamedTuple):
    image_id: str
    shares: list[float]
    seconds: float | None
    annotator: str


def read_proportions(
    source: str | Path | TextIO,
    *,
    classes: Sequence[str],
    image_ids: Sequence[str] | pa.Array | pa.ChunkedArray,
    annotator: str | None = None,
) -> pa.Table:
    """Read class proportions from CSV: a column `image_id` and one per class, in any order, separated by commas.

    Shares or per cent: a row must sum to 1 or to 100, within 2 %, and is divided by its sum. A single class (the
    sigmoid case with its foreground's column alone) has no sum to tell them apart: its shares are in 0..1. Images may
    be missing; a row whose classes are all left empty is one. Optional columns: `seconds` (how long it took) and
    `annotator`, each empty where it is not known.

    Args:
        source: The file's path, or a file that is open for reading.
        classes: Names of the classes; the columns of the result are in this order.
        image_ids: The images there are.
        annotator: Who answered where the file does not say; None = `import:FILE`.

    Returns:
        Rows with the schema ``PROPORTIONS``, in the order of the file.

    Raises:
        DataError: The file cannot be read, lacks a column or has an unknown one; an id is unknown or there twice; a
            number is unreadable or negative; a row sums to something else. One line per fault, ten at most.
    """
    source = Path(source) if isinstance(source, str) else source
    where = source.name if isinstance(source, Path) else "proportions"
    header, rows = _cells(source, where)
    faults = _header_faults(header, classes)
    if faults:
        _refuse([f"{where}: {fault}" for fault in faults])
    default = annotator or f"import:{where}"
    ids = image_ids.to_pylist() if isinstance(image_ids, pa.Array | pa.ChunkedArray) else list(image_ids)
    known = set(ids)
    expected_id = f"expected one of the {len(ids)} there are" + (f", such as {ids[0]!r}" if ids else "")
    first_line: dict[str, int] = {}
    found: list[_Row] = []
    for line, cells in rows:
        if len(cells) != len(header):
            faults.append(f"{where} line {line}: {len(cells)} values, expected {len(header)} as in the first line")
            continue
        values = dict(zip(header, cells, strict=True))
        image_id = values["image_id"]
        wrong = []
        if image_id not in known:
            wrong.append(f"unknown image_id {image_id!r}, {expected_id}")
        elif image_id in first_line:
            wrong.append(f"image_id {image_id!r} again, first in line {first_line[image_id]}: keep one")
        first_line.setdefault(image_id, line)
        row, unreadable = _parse(values, classes, default)
        wrong += unreadable
        faults += [f"{where} line {line}: {fault}" for fault in wrong]
        if row is not None and not wrong:
            found.append(row)
    if faults:
        _refuse(faults)
    return proportions_table(
        [row.image_id for row in found],
        np.array([row.shares for row in found], np.float64).reshape(len(found), len(classes)),
        annotator=[row.annotator for row in found],
        seconds=[row.seconds for row in found],
    )


def _refuse(faults: Sequence[str]) -> None:
    """Raise with the first faults, a line each."""
    more = len(faults) - _FAULTS_SHOWN
    raise DataError("\n".join([*faults[:_FAULTS_SHOWN], *([f"and {more} more"] if more > 0 else [])]))


def _cells(source: Path | TextIO, where: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header, and the other rows with their line numbers."""
    try:
        # utf-8-sig: spreadsheets write a byte order mark
        text = source.read_text(encoding="utf-8-sig") if isinstance(source, Path) else source.read()
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError as error:
        raise DataError(f"no {where} (looked for {source}): expected a CSV file of proportions") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} cannot be read as CSV in UTF-8 ({error}): save it as such") from error
    rows = [row for row in rows if any(row[1])]
    if not rows:
        raise DataError(f"{where} is empty: expected a first line with image_id and one column per class")
    return rows[0][1], iter(rows[1:])


def _header_faults(header: Sequence[str], classes: Sequence[str]) -> list[str]:
    expected = ["image_id", *classes]
    optional = [name for name in ("seconds", "annotator") if name not in classes]
    if "image_id" in classes:
        return ["no class can be named image_id, which is the column of the ids: rename the class"]
    faults = []
    missing = [name for name in expected if name not in header]
    if missing:
        hint = ": separate the columns by commas" if len(header) == 1 else ""
        faults.append(f"no column {', '.join(missing)}, expected {','.join(expected)}{hint}")
    unknown = [repr(name) for name in header if name not in expected + optional]
    if unknown:
        faults.append(f"unknown column {', '.join(unknown)}, expected the classes {', '.join(classes)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        faults.append(f"column {', '.join(twice)} is there twice: keep one")
    return faults


def _parse(values: dict[str, str], classes: Sequence[str], annotator: str) -> tuple[_Row | None, list[str]]:
    """A row, None if it says nothing, and its faults."""
    cells = {name: values[name] for name in classes}
    seconds_cell = "" if "seconds" in classes else values.get("seconds", "")
    annotator_cell = "" if "annotator" in classes else values.get("annotator", "")
    faults = []
    seconds = _number(seconds_cell)
    if seconds_cell and (seconds is None or seconds < 0):
        faults.append(f"seconds is {seconds_cell!r}, expected a number of at least 0 or nothing")
    if not any(cells.values()):
        return None, faults
    shares: list[float] = []
    for name, cell in cells.items():
        number = _number(cell)
        if number is None:
            faults.append(f"{name} is {cell!r}, expected a number such as 0.25")
        elif number < 0:
            faults.append(f"{name} is {cell}, expected at least 0")
        else:
            shares.append(number)
    if len(shares) < len(cells):
        return None, faults
    total = sum(shares)
    if len(shares) == 1:
        if total > 1:
            faults.append(f"{classes[0]} is {total:g}, expected a share in 0..1")
        total = 1.0
    elif min(abs(total - 1), abs(total / 100 - 1)) > SUM_TOLERANCE + 1e-9:
        faults.append(f"the classes sum to {total:g}, expected 1 (or 100 for per cent)")
    if faults:
        return None, faults
    return _Row(values["image_id"], [share / total for share in shares], seconds, annotator_cell or annotator), []


def _number(cell: str) -> float | None:
    """A finite number, or None."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
