"""Label Studio's JSON: key points, polygons, rectangles and brush masks, with coordinates in percent."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.annotation.formats.shapes import Entry, Shape, box, corners, extent, outlines

_LABELS = ("keypointlabels", "polygonlabels", "rectanglelabels", "brushlabels")


def read_label_studio(content: Entry) -> Iterator[Shape]:
    """The results of all annotations that were not cancelled.

    Args:
        content: The whole file: a list of tasks.
    """
    for task in content.items():
        data = task.get("data")
        name = next((data.get(key).text() for key in ("image", "img", "url") if data.get(key).value), None)
        if name is None:
            data.fail("expected the image's name in `image`")
        for annotation in task.get("annotations").items():
            if annotation.get("was_cancelled").value:
                continue
            results = annotation.get("result").items()
            shapes = [entry for entry in results if entry.get("type").value in _LABELS]
            took = annotation.get("lead_time")
            seconds = None if took.value is None or not shapes else max(0.0, took.number()) / len(shapes)
            for entry in results:
                if entry not in shapes:
                    entry.get("type").fail(f"expected {', '.join(_LABELS)}, got {entry.get('type').value!r}")
                yield _shape(entry, str(name), seconds)


def _shape(entry: Entry, name: str, seconds: float | None) -> Shape:
    kind, value = entry.get("type").text(), entry.get("value")
    known = extent(entry.get("original_height"), entry.get("original_width"))
    size = known or (100, 100)  # percent are pixels of a file of that size
    labels = value.get(kind).items()
    if len(labels) != 1:
        value.get(kind).fail(f"expected one label, got {len(labels)}")
    label, across, down = labels[0].text(), size[1] / 100, size[0] / 100
    if kind == "keypointlabels":
        point = value.get("x").number() * across, value.get("y").number() * down
        return Shape(entry.where, name, label, point=point, size=size, seconds=seconds)
    if kind == "polygonlabels":
        areas = ((tuple((x * across, y * down) for x, y in corners(value.get("points"))),),)
    elif kind == "rectanglelabels":
        left, top = value.get("x").number() * across, value.get("y").number() * down
        width, height = value.get("width").number() * across, value.get("height").number() * down
        if value.get("rotation").value:
            value.get("rotation").fail("expected an upright rectangle; draw a polygon instead")
        areas = (box(left, top, left + width, top + height),)
    else:
        if known is None:
            entry.get("original_height").fail("expected the size of the image that the mask is of, got 0 x 0")
        areas = outlines(_brush(value.get("rle"), size))
    return Shape(entry.where, name, label, areas=areas, size=size, seconds=seconds)


def _brush(rle: Entry, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A brush mask: the alpha channel of an RGBA image, packed as words and runs of words in a stream of bits."""
    data = [item.whole() for item in rle.items()]
    if any(not 0 <= byte < 256 for byte in data):
        rle.fail("expected bytes from 0 to 255")
    bits = np.unpackbits(np.array(data, np.uint8))
    at = 0

    def take(count: int) -> int:
        nonlocal at
        if at + count > bits.size:
            rle.fail("the mask is cut short")
        found = int("".join(map(str, bits[at : at + count])), 2)
        at += count
        return found

    total, word = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    if total != 4 * size[0] * size[1]:
        rle.fail(f"expected {4 * size[0] * size[1]} values for {size[0]} x {size[1]} pixels, got {total}")
    values, done = np.zeros(total, np.int64), 0
    while done < total:
        repeated = take(1)
        end = min(total, done + 1 + take(widths[take(2)]))
        if repeated:
            values[done:end] = take(word)
            done = end
        while done < end:
            values[done] = take(word)
            done += 1
    return values.reshape(*size, 4)[..., 3] > 127
