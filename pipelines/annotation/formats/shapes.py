"""What every format comes down to: a class at a point, in a polygon, or in a mask of an image."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label

from weakseg.errors import DataError
from weakseg.supervision import rings

LARGEST = 2.0**64
"""What no number of a file is beyond: nothing there is measured in more, and names are no longer."""

MOST_PIXELS = 2**30
"""Of a mask."""

Point = tuple[float, float]
Area = tuple[tuple[Point, ...], ...]
"""An outline, then its holes."""


@dataclass(frozen=True)
class Shape:
    """One labelled thing. Coordinates are (x, y) in pixels of the file that was annotated, from its outer corner.

    Attributes:
        where: Its place in the file, for messages.
        image: The image as the file calls it.
        label: The class as the file calls it; None = the annotator cannot tell.
        point: Where, if it is a point.
        areas: What it covers, if it is no point: each piece is an outline and its holes.
        size: Height and width of the annotated file where that is known; None = that of the data set's file.
        asked: Whether it speaks of the image as it was asked about, whatever file that was cut from; only our own files
            do.
        seconds: How long it took; None = not known.
        segment: The superpixel that was asked about; only our own files know it.
        round: The round that asked; only our own files know it.
        annotator: Who answered; only our own files know it.
        again: Whether it may be an answer that was written to the file without who gave it.
        kind: proportions or coarse: an answer about the whole image, from our own files; None = a point or an area.
        shares: The proportions, by class.
        drawn: The polygons, each with its class and its place in the file; None = the annotator cannot tell.
    """

    where: str
    image: str
    label: str | None
    point: Point | None = None
    areas: tuple[Area, ...] = ()
    size: tuple[int, int] | None = None
    asked: bool = False
    seconds: float | None = None
    segment: int | None = None
    round: int | None = None
    annotator: str | None = None
    again: bool = False
    kind: str | None = None
    shares: dict[str, float] | None = None
    drawn: tuple[tuple[str, str, Area], ...] | None = None


class Entry:
    """A value of a file with its place, so that every refusal can name both."""

    def __init__(self, value: Any, where: str, file: str) -> None:
        self.value, self.where, self.file = value, where, file

    def fail(self, what: str) -> NoReturn:
        """Refuse the file.

        Raises:
            DataError: Always.
        """
        raise DataError(f"{self.file}: {self.where or 'the file'}: {what}")

    def get(self, name: str | int) -> "Entry":
        """A field of an object or an item of a list; None where an object lacks it."""
        if isinstance(name, int):
            return Entry(self.value[name], f"{self.where}[{name}]", self.file)
        if not isinstance(self.value, dict):
            self.fail(f"expected an object, got {show(self.value)}")
        return Entry(self.value.get(name), f"{self.where}.{name}" if self.where else name, self.file)

    def items(self) -> list["Entry"]:
        """The items of a list."""
        if not isinstance(self.value, list):
            self.fail(f"expected a list, got {show(self.value)}")
        return [self.get(number) for number in range(len(self.value))]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            self.fail(f"expected a text, got {show(self.value)}")
        return self.value

    def number(self) -> float:
        """A number that sums and products of a few are numbers of, too."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not abs(self.value) <= LARGEST:
            self.fail(f"expected a number, got {show(self.value)}")
        return float(self.value)

    def whole(self) -> int:
        """A whole number."""
        self.number()
        if self.value != int(self.value):  # as it came: a float has no room for all names of 64 bits
            self.fail(f"expected a whole number, got {show(self.value)}")
        return int(self.value)

    def pairs(self) -> tuple[Point, ...]:
        """A flat list x, y, x, y, ... of at least one point."""
        values = [item.number() for item in self.items()]
        if len(values) < 2 or len(values) % 2:
            self.fail(f"expected x, y, x, y, ..., got {len(values)} numbers")
        return tuple(zip(values[::2], values[1::2], strict=True))

    def ring(self) -> tuple[Point, ...]:
        """A flat list of at least three points."""
        points = self.pairs()
        if len(points) < 3:
            self.fail(f"expected at least 3 points, got {len(points)}")
        return points


def corners(entry: Entry) -> tuple[Point, ...]:
    """A list of at least three points [x, y]."""
    pairs = [tuple(item.number() for item in pair.items()) for pair in entry.items()]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        entry.fail("expected at least 3 points [x, y]")
    return tuple((pair[0], pair[1]) for pair in pairs)


def extent(height: Entry, width: Entry) -> tuple[int, int] | None:
    """The size of an image; None where a file says 0 x 0, as tools do that do not know it.

    Args:
        height: As the file has it; named in refusals.
        width: The same.
    """
    found = height.whole(), width.whole()
    if found == (0, 0):
        return None
    if min(found) < 1:
        height.fail(f"expected a height and a width from 1, got {found[0]} x {found[1]}")
    return found


def show(value: Any) -> str:
    """A value in a message, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def box(left: float, top: float, right: float, bottom: float) -> tuple[tuple[Point, ...], ...]:
    """A rectangle as an area."""
    return (((left, top), (right, top), (right, bottom), (left, bottom)),)


def clip(ring: Sequence[Point], size: tuple[int, int]) -> tuple[Point, ...]:
    """What lies within an image of what an outline goes around (Sutherland and Hodgman, 1974).

    Args:
        ring: Its corners.
        size: Height and width of the image.

    Returns:
        The corners as they are where all lie within; fewer than 3 different ones where nothing does.
    """
    for axis, sign, edge in ((0, 1, 0.0), (0, -1, float(size[1])), (1, 1, 0.0), (1, -1, float(size[0]))):
        kept: list[Point] = []
        for one, other in zip([*ring[-1:], *ring[:-1]], ring, strict=True):
            if (sign * one[axis] < sign * edge) != (sign * other[axis] < sign * edge):
                a, b = one[1 - axis], other[1 - axis]
                along = a + (edge - one[axis]) / (other[axis] - one[axis]) * (b - a)
                along = min(max(along, min(a, b)), max(a, b))
                kept.append((edge, along) if axis == 0 else (along, edge))
            if sign * other[axis] >= sign * edge:
                kept.append(other)
        ring = kept
    return tuple(ring)


def outlines(mask_HW: NDArray[np.bool_]) -> tuple[Area, ...]:
    """The 4-connected pieces of a mask: filled, they hold exactly the centres of its pixels.

    Args:
        mask_HW: Where the area is.
    """
    pieces_HW = label(mask_HW, connectivity=1)  # type: ignore[no-untyped-call]
    return tuple(
        tuple(
            # From the centre of a pixel of the piece to the outer corner of the image.
            tuple((float(x) + box[1].start + 0.5, float(y) + box[0].start + 0.5) for y, x in ring)
            for ring in rings.outlines(pieces_HW[box] == number)
        )
        for number, box in enumerate(find_objects(pieces_HW), start=1)
    )


def runs(counts: Sequence[int], size: tuple[int, int], entry: Entry, *, by_column: bool) -> NDArray[np.bool_]:
    """A mask from run lengths that begin outside.

    Args:
        counts: Pixels outside, inside, outside, ...
        size: Height and width.
        entry: Named in refusals.
        by_column: Whether they run down the columns (COCO), not along the rows.
    """
    if min(size) < 1 or size[0] * size[1] > MOST_PIXELS:
        entry.fail(f"expected a mask of 1 x 1 to {MOST_PIXELS} pixels, got {size[0]} x {size[1]}")
    if any(count < 0 for count in counts) or sum(counts) != size[0] * size[1]:
        entry.fail(f"expected runs of {size[0]} x {size[1]} pixels in all, got {sum(counts)}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(size[1], size[0]).T if by_column else flat.reshape(size)
