"""Our own CSV and JSON, and projects of the VGG Image Annotator: written with the questions, read with the answers."""

import csv
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.annotation.formats.shapes import Area, Entry, Shape, corners

COLUMNS = (
    "round",
    "image_id",
    "kind",
    "purpose",
    "y",
    "x",
    "segment",
    "class",
    "value",
    "annotator",
    "seconds",
    "labelled_at",
)
VOID = "void"
"""How files say that the annotator cannot tell; of points and areas see :func:`void_mark`."""

WHOLE = ("proportions", "coarse")
"""Kinds of answers about a whole image: their `value` is an object of shares by class, or a list of polygons."""

Row = dict[str, Any]


def void_mark(names: Collection[str]) -> str:
    """How files say of a point or an area that the annotator cannot tell: void, in brackets where that is a class.

    Args:
        names: The classes.
    """
    mark = VOID
    while mark in names:
        mark = f"({mark})"
    return mark


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write questions and answers as CSV; a class that was not given is empty, a value is JSON."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row | {"value": None if row["value"] is None else json.dumps(row["value"])} for row in rows)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write questions and answers as JSON."""
    path.write_text(json.dumps({"weakseg": 1, "questions": list(rows)}, indent=1, ensure_ascii=False))


def read_csv(path: Path) -> Iterator[Shape]:
    """The answered rows of a CSV file.

    Args:
        path: The file.
    """
    with path.open(newline="", encoding="utf-8-sig") as file, _fields_of_any_length(path):
        reader = csv.DictReader(file)
        needed = {"image_id", "y", "x", "class"}
        if not needed <= set(reader.fieldnames or ()):
            Entry(None, "line 1", path.name).fail(f"expected columns {', '.join(sorted(needed))}")
        for number, row in enumerate(reader, start=2):
            where = f"line {number}"
            values: Row = {name: value for name, value in row.items() if name in COLUMNS and value not in (None, "")}
            for name in ("y", "x", "segment", "round", "seconds"):
                if name in values:
                    try:
                        values[name] = float(values[name])
                    except ValueError:
                        Entry(None, f"{where}.{name}", path.name).fail(f"expected a number, got {values[name]!r}")
            if "value" in values:
                try:
                    values["value"] = json.loads(values["value"])
                except (ValueError, RecursionError):
                    Entry(None, f"{where}.value", path.name).fail("expected JSON")
            yield from _answered(Entry(values, where, path.name))


@contextmanager
def _fields_of_any_length(path: Path) -> Iterator[None]:
    """The outlines of an image are one field, which the csv module takes up to 128 KiB of unless it is told."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, path.stat().st_size))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_json(content: Entry) -> Iterator[Shape]:
    """The answered questions of our own JSON.

    Args:
        content: The whole file.
    """
    for entry in content.get("questions").items():
        yield from _answered(entry)


def _answered(entry: Entry) -> Iterator[Shape]:
    kind, label, value = entry.get("kind").value, entry.get("class"), entry.get("value")
    if label.value is None and value.value is None:
        return
    image = entry.get("image_id").text()
    seconds = None if entry.get("seconds").value is None else max(0.0, entry.get("seconds").number())
    number = None if entry.get("round").value is None else entry.get("round").whole()
    who = None if entry.get("annotator").value is None else entry.get("annotator").text()
    known: dict[str, Any] = {"asked": True, "seconds": seconds, "round": number, "annotator": who}
    if kind in WHOLE:
        if value.value is None:
            if label.text() != VOID:
                label.fail(f"expected a value, or {VOID}, got {label.value!r}")
        elif kind == "proportions":
            known["shares"] = _shares(value)
        else:
            known["drawn"] = tuple(map(_drawn, value.items()))
        yield Shape(value.where, image, None, kind=kind, **known)
        return
    # A pixel's centre: whole numbers are pixels of the images as they were asked about.
    point = entry.get("x").whole() + 0.5, entry.get("y").whole() + 0.5
    segment = None if entry.get("segment").value is None else entry.get("segment").whole()
    yield Shape(entry.where, image, label.text(), point=point, segment=segment, **known)


def _shares(value: Entry) -> dict[str, float]:
    if not isinstance(value.value, dict):
        value.fail("expected an object of shares by class")
    return {name: value.get(name).number() for name in value.value}


def _drawn(polygon: Entry) -> tuple[str, str, Area]:
    holes = polygon.get("holes").items() if polygon.get("holes").value else []
    return polygon.where, polygon.get("class").text(), (corners(polygon.get("points")), *map(corners, holes))


def write_via(path: Path, rows: Sequence[Row], *, names: Sequence[str], files: dict[str, str], run: str) -> None:
    """Write a project of the VGG Image Annotator 2, one point region per question, as PixelPick's tool used.

    Args:
        path: The file.
        rows: Questions with `via_x` and `via_y` in pixels of the image file.
        names: The classes.
        files: What the image file of every image_id is called.
        run: The run's name.
    """
    images: dict[str, Any] = {}
    for row in rows:
        name = files[row["image_id"]]
        image = images.setdefault(f"{name}-1", {"filename": name, "size": -1, "regions": [], "file_attributes": {}})
        image["regions"].append(
            {
                "shape_attributes": {"name": "point", "cx": row["via_x"], "cy": row["via_y"]},
                "region_attributes": {
                    "class": row["class"] or "",
                    "annotator": row["annotator"] or "",
                    "round": str(row["round"]),
                },
            }
        )
    options = {name: "" for name in (*names, void_mark(names))}
    project = {
        "_via_settings": {
            "ui": {
                "annotation_editor_height": 25,
                "annotation_editor_fontsize": 0.8,
                "image": {"region_label": "class"},
            },
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
            "project": {"name": run},
        },
        "_via_img_metadata": images,
        "_via_attributes": {
            "region": {
                "class": {"type": "radio", "description": "", "options": options, "default_options": {}},
                "annotator": {"type": "text", "description": "", "default_value": ""},
                "round": {"type": "text", "description": "", "default_value": ""},
            },
            "file": {},
        },
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(images),
    }
    path.write_text(json.dumps(project, ensure_ascii=False))


def read_via(content: Entry) -> Iterator[Shape]:
    """The regions of a project that have a class: points, polygons and rectangles.

    Args:
        content: The whole file; a file of annotations alone will do.
    """
    project = content.get("_via_img_metadata")
    images = project if project.value is not None else content
    if not isinstance(images.value, dict):
        images.fail("expected an object with one field per image")
    for name in images.value:
        image = images.get(name)
        file = image.get("filename").text()
        for region in image.get("regions").items():
            said, shape = region.get("region_attributes"), region.get("shape_attributes")
            label = said.get("class").value
            if not label:
                continue
            kind = shape.get("name").text()
            if kind == "point":
                point = shape.get("cx").number(), shape.get("cy").number()
                who, number = said.get("annotator").value, str(said.get("round").value)
                known: dict[str, Any] = {"annotator": str(who) if who else None, "again": who is None}
                asked_in = int(number) if re.fullmatch("[0-9]{1,9}", number) else None
                yield Shape(region.where, file, str(label), point=point, round=asked_in, **known)
            elif kind in ("polygon", "polyline"):
                xs = [item.number() for item in shape.get("all_points_x").items()]
                ys = [item.number() for item in shape.get("all_points_y").items()]
                if len(xs) != len(ys) or len(xs) < 3:
                    shape.fail("expected as many all_points_x as all_points_y, at least 3")
                yield Shape(region.where, file, str(label), areas=((tuple(zip(xs, ys, strict=True)),),))
            elif kind == "rect":
                left, top, width, height = (shape.get(side).number() for side in ("x", "y", "width", "height"))
                corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
                yield Shape(region.where, file, str(label), areas=((corners,),))
            else:
                shape.get("name").fail(f"expected point, polygon or rect, got {kind!r}")
