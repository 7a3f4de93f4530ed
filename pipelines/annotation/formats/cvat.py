"""CVAT's own XML ("CVAT for images 1.1"): points, polygons, boxes and masks."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from pipelines.annotation.formats.shapes import Area, Entry, Point, Shape, box, extent, outlines, runs
from weakseg.errors import DataError

_SHAPES = ("points", "polygon", "box", "mask")


def read_cvat(path: Path) -> Iterator[Shape]:
    """The shapes of a CVAT file.

    Args:
        path: The XML file.

    Raises:
        DataError: It is no XML, declares entities, or an entry is faulty.
    """
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise DataError(f"{path.name}: the file: expected no DOCTYPE and no entities; export it from CVAT again")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path.name}: the file: not XML ({error})") from error
    if root.tag != "annotations":
        raise DataError(f"{path.name}: the file: expected <annotations> of CVAT for images 1.1, got <{root.tag}>")
    for number, image in enumerate(root.iter("image")):
        where = f"image[{number}] ({image.get('name')})"
        about = Entry(image.attrib, where, path.name)
        size = extent(_value(about, "height"), _value(about, "width"))
        for position, shape in enumerate(child for child in image if child.tag not in ("tag",)):
            entry = Entry(shape.attrib, f"{where}.{shape.tag}[{position}]", path.name)
            name, label = about.get("name").text(), entry.get("label").text()
            if shape.tag == "points":
                for point in _points(entry):
                    yield Shape(entry.where, name, label, point=point, size=size)
            elif shape.tag == "polygon":
                ring = _points(entry)
                if len(ring) < 3:
                    entry.fail(f"expected at least 3 points, got {len(ring)}")
                yield Shape(entry.where, name, label, areas=((ring,),), size=size)
            elif shape.tag == "box":
                sides = [_value(entry, side).number() for side in ("xtl", "ytl", "xbr", "ybr")]
                yield Shape(entry.where, name, label, areas=(box(*sides),), size=size)
            elif shape.tag == "mask":
                yield Shape(entry.where, name, label, areas=_mask(entry), size=size)
            else:
                entry.fail(f"expected {', '.join(_SHAPES)}, got {shape.tag}")


def _mask(entry: Entry) -> tuple[Area, ...]:
    left, top, width, height = (_value(entry, side).whole() for side in ("left", "top", "width", "height"))
    text = entry.get("rle")
    try:
        counts = [int(count) for count in text.text().split(",")]
    except ValueError:
        text.fail("expected run lengths with commas between them")
    areas = outlines(runs(counts, (height, width), text, by_column=False))
    return tuple(tuple(tuple((x + left, y + top) for x, y in ring) for ring in area) for area in areas)


def _points(entry: Entry) -> tuple[Point, ...]:
    points = entry.get("points")
    try:
        pairs = [[float(value) for value in pair.split(",")] for pair in points.text().split(";")]
    except ValueError:
        points.fail(f"expected x,y;x,y;..., got {points.value[:40]!r}")
    if any(len(pair) != 2 for pair in pairs):
        points.fail(f"expected x,y;x,y;..., got {points.value[:40]!r}")
    return Entry([value for pair in pairs for value in pair], points.where, points.file).pairs()


def _value(entry: Entry, name: str) -> Entry:
    """An attribute as a number."""
    found = entry.get(name)
    try:
        return Entry(float(found.text()), found.where, found.file)
    except ValueError:
        found.fail(f"expected a number, got {found.value!r}")
