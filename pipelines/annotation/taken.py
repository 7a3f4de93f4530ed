"""What a file of shapes comes to as answers of a run: every shape finds its image, its class and its question."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pipelines.annotation.answers import Answer, Place, encode, heads
from pipelines.annotation.desk import Desk
from pipelines.annotation.formats import Shape
from pipelines.annotation.formats.own import void_mark
from pipelines.annotation.formats.shapes import clip
from pipelines.drawn import View, views
from weakseg import schema
from weakseg.supervision import Polygon, encode_polygons

_ROUNDING = 0.01
"""How far from 1 the sum of shares may be."""


class Taken:
    """The shapes of a file as answers, and what is wrong with them.

    Args:
        desk: The questions and answers of the run.
        file: The file's name.

    Attributes:
        annotator: As whom the file counts where it does not say who answered.
        current: The last answers before the file, by question, then by annotator; withdrawals too.
        faults: What is wrong.
    """

    def __init__(self, desk: Desk, file: str) -> None:
        pool = desk.ledger.pool
        self.faults: list[str] = []
        self.annotator, self._desk = f"import:{file}", desk
        self._names = {name: number for number, name in enumerate(pool.classes.names)}
        self._void = void_mark(self._names)
        self._cut = dict(views(pool))
        self._tiled = pool.manifest["settings"]["tile"] is not None
        files = {row["image_id"]: row["source"] for row in pool.rows(["image_id", "source"])}
        sources = [view.source for view in self._cut.values()]
        self._images = Names(list(self._cut), sources, [files[image_id] for image_id in self._cut])
        self._train = set(pool.index("train").image_ids.to_pylist())
        # By round, and under None what was asked last.
        self._asked: dict[tuple[Any, ...], Place] = {}
        for number in sorted(desk.rounds):
            for place in desk.rounds[number].by_place:
                self._asked[None, *place[1:5]] = self._asked[number, *place[1:5]] = place
        self._coarse = desk.ledger.record["config"]["supervision"]["coarse"] == "people"
        self.current = heads(desk.answers.since())
        self._before = {place[1:]: place for place, given in self.current.items() if self.annotator in given}
        self._points: dict[tuple[Place, str], Answer] = {}
        self._areas: dict[str, list[Polygon]] = defaultdict(list)
        self._seconds: dict[str, float] = {}

    def add(self, shape: Shape) -> None:
        """One more shape."""
        found = self._images.find(shape.image)
        if shape.kind is not None:
            self._whole(shape, found)
            return
        label = schema.VOID if shape.label == self._void else self._names.get(shape.label or "")
        if label is None:
            self._fault(shape, f"unknown class {shape.label!r}; known: {', '.join(self._names)}")
        elif not found:
            self._fault(shape, f"no image {shape.image!r} among the {len(self._cut)} of the data set")
        elif shape.point is not None:
            self._point(shape, found, label)
        else:
            self._area(shape, found, label)

    def rows(self) -> list[Answer]:
        """What they come to: one row per point and annotator, one per image with areas."""
        rows = list(self._points.values())
        for image_id, polygons in self._areas.items():
            where = self._image("coarse", image_id)
            rows.append(Answer(*where, self.annotator, None, encode_polygons(polygons), self._seconds.get(image_id)))
        return rows

    def _image(self, kind: str, image_id: str) -> Place:
        """The question about a whole image: that of a round, else that of this file's answer before, else a new one."""
        what = kind, image_id, -1, -1, -1
        return self._asked.get((None, *what[:4])) or self._before.get(what) or (max(self._desk.rounds), *what)

    def _whole(self, shape: Shape, found: Sequence[str]) -> None:
        """An answer about an image as a whole, from our own files."""
        kind, value = str(shape.kind), None
        names = list(self._names)
        if not found:
            self._fault(shape, f"no image {shape.image!r} among the {len(self._cut)} of the data set")
            return
        if len(found) > 1 or found[0] not in self._train:
            self._fault(shape, f"{shape.image} is no whole training image")
            return
        if self._desk.ledger.record["config"]["supervision"][kind] != "people":
            self._fault(shape, f"{kind}, which this run does not read: start one with --set supervision.{kind}=people")
            return
        if shape.shares is not None:
            shares = list(shape.shares.values())
            if shape.shares.keys() != self._names.keys():
                self._fault(shape, f"expected a share of each of {', '.join(names)}, got {', '.join(shape.shares)}")
                return
            if min(shares) < 0 or abs(sum(shares) - 1) > _ROUNDING:
                self._fault(shape, f"expected shares from 0 that sum to 1, got a sum of {sum(shares):g}")
                return
            # What sums to 1 but for the last digits stays as it is: what was exported comes back the same.
            total = 1.0 if math.isclose(sum(shares), 1) else sum(shares)
            value = encode([shape.shares[name] / total for name in names])
        if shape.drawn is not None:
            height, width = self._cut[found[0]].size
            for where, label, area in shape.drawn:
                if label not in self._names:
                    self.faults.append(f"{where}: unknown class {label!r}; known: {', '.join(names)}")
                    return
                if not all(0 <= x <= width and 0 <= y <= height for ring in area for x, y in ring):
                    self.faults.append(f"{where}: a point lies outside the image of {width} x {height} pixels")
                    return
            value = encode_polygons(Polygon(self._names[label], area[0], area[1:]) for _, label, area in shape.drawn)
        class_id = schema.VOID if value is None else None
        self._keep(self._image(kind, found[0]), class_id, value, shape)

    def _keep(self, where: Place, class_id: int | None, value: str | None, shape: Shape) -> None:
        who = shape.annotator or self.annotator
        self._points[where, who] = Answer(*where, who, class_id, value, shape.seconds)

    def _point(self, shape: Shape, found: Sequence[str], label: int) -> None:
        assert shape.point is not None
        for image_id in found:
            place = pixel(shape, self._cut[image_id], tiled=self._tiled)
            if place is None:
                continue
            y, x = place
            # Other tools do not say whether a pixel is meant or the superpixel around it: what was asked tells.
            kinds = ("pixel", "region") if shape.segment is None else ("region",)
            keys = [(number, kind, image_id, y, x) for number in (shape.round, None) for kind in kinds]
            asked = next((self._asked[key] for key in keys if key in self._asked), None)
            if asked is None and (image_id not in self._train or shape.segment is not None):
                self._fault(shape, f"{image_id} is not asked there, and no training image: nothing may learn from it")
                return
            what = "pixel", image_id, y, x, -1
            where = asked or self._before.get(what) or (max(self._desk.rounds), *what)
            given = self.current.get(where, {})
            said = {answer.class_id for answer in given.values() if not answer.withdrawn}
            if not (shape.again and self.annotator not in given and label in said):
                self._keep(where, label, None, shape)
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
            rings = [tuple((x * view.size[1] / width, y * view.size[0] / height) for x, y in ring) for ring in area]
            outline, *holes = (clip(ring, view.size) for ring in rings)
            if len(set(outline)) < 3 and outline != rings[0]:
                self._fault(shape, f"the area lies outside the image of {view.size[1]} x {view.size[0]} pixels")
                return
            self._areas[found[0]].append(Polygon(label, outline, tuple(hole for hole in holes if len(set(hole)) > 2)))
        if shape.areas and shape.seconds is not None:
            self._seconds[found[0]] = self._seconds.get(found[0], 0.0) + shape.seconds

    def _fault(self, shape: Shape, what: str) -> None:
        self.faults.append(f"{shape.where}: {what}")


class Names:
    """Finds images by what other tools call them: paths, file names, with or without an ending."""

    def __init__(self, image_ids: Sequence[str], sources: Sequence[str], files: Sequence[str] = ()) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, set[str]] = defaultdict(set)
        self._of_source: dict[str, list[str]] = defaultdict(list)
        for image_id, source, file in zip(image_ids, sources, files or sources, strict=True):
            self._of_source[source].append(image_id)
            for name in {image_id, source, file}:
                self._exact[name].append(image_id)
            for name in {image_id, source}:
                parts = name.split("/")
                for start in range(len(parts)):
                    self._ends["/".join(parts[start:])].add(source)

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


def pixel(shape: Shape, view: View, *, tiled: bool) -> tuple[int, int] | None:
    """The pixel (y, x) of the pool's image in which a point of the annotated file lies; None outside."""
    assert shape.point is not None
    x, y = shape.point
    if not shape.asked:
        height, width = shape.size or view.original
        down, across = view.original if tiled else view.size
        x, y = x * across / width - view.origin[1], y * down / height - view.origin[0]
    row, column = int(y // 1), int(x // 1)
    return (row, column) if 0 <= row < view.size[0] and 0 <= column < view.size[1] else None
