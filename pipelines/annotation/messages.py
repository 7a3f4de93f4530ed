"""What the page sends, checked field by field."""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.annotation.answers import encode
from pipelines.annotation.asked import Question
from pipelines.annotation.desk import Entry, Refused
from weakseg.schema import VOID
from weakseg.supervision import Polygon, encode_polygons

Page = Literal["pixel", "proportions", "coarse"]
Handle = Annotated[str, Field(max_length=80)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Pair = tuple[Number, Number]
Ring = Annotated[list[Pair], Field(min_length=3, max_length=10_000)]


class Message(BaseModel):
    """A JSON object without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Token(Message):
    """POST /api/session."""

    token: Annotated[str, Field(max_length=200)]


class Images(Message):
    """POST /api/alive."""

    images: Annotated[list[Handle], Field(min_length=1, max_length=16)]


class Left(Images):
    """POST /api/release."""

    kind: Page


class Drawn(Message):
    """One polygon."""

    class_: Annotated[int, Field(alias="class", ge=0, le=254, strict=True)]
    points: Ring
    holes: Annotated[list[Ring], Field(max_length=1000)] = []


class Given(Message):
    """One answer: exactly one of class, proportions, polygons and void; null takes the answer before back."""

    query: Handle
    seconds: Annotated[float, Field(ge=0, le=1e7)]
    replaces: Annotated[str | None, Field(max_length=32)] = None
    class_: Annotated[int | None, Field(alias="class", ge=0, le=VOID, strict=True)] = None
    proportions: Annotated[list[Number] | None, Field(max_length=254)] = None
    polygons: Annotated[list[Drawn] | None, Field(max_length=2000)] = None
    void: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Given":
        if len(self.what) != 1:
            raise ValueError("exactly one of class, proportions, polygons and void")
        return self

    @property
    def what(self) -> set[str]:
        """Which of them is there."""
        return self.model_fields_set & {"class_", "proportions", "polygons", "void"}


class Batch(Message):
    """POST /api/answers."""

    answers: Annotated[list[Given], Field(min_length=1, max_length=50)]


def entry(given: Given, question: Question, *, classes: int, size: tuple[int, int]) -> Entry:
    """An answer that fits its question.

    Args:
        given: What came.
        question: What it answers.
        classes: How many classes there are.
        size: Height and width of the image.

    Raises:
        Refused: bad_request, with what is wrong.
    """
    kind, (what,) = question.place[1], given.what
    field = {"proportions": "proportions", "coarse": "polygons"}.get(kind, "class_")
    if what != field and not (what == "void" and field != "class_"):
        raise Refused("bad_request", f"Expected {field.rstrip('_')} for a question of kind {kind}.")
    class_id, value = (VOID if given.void else given.class_), None
    if class_id is not None and class_id != VOID and class_id >= classes:
        raise Refused("bad_request", f"There is no class {class_id}: expected 0 to {classes - 1}, or {VOID} for void.")
    if given.proportions is not None:
        value = encode(_proportions(given.proportions, classes))
    if given.polygons is not None:
        value = _polygons(given.polygons, classes, size)
    return Entry(question, class_id, value, given.seconds, given.replaces or "")


def _proportions(shares: list[float], classes: int) -> list[float]:
    total = math.fsum(shares)
    if len(shares) != classes or min(shares) < 0 or abs(total - 1) > 0.01:
        raise Refused("bad_request", f"Expected {classes} proportions from 0 that sum to 1, got a sum of {total:g}.")
    return [share / total for share in shares]


def _polygons(drawn: list[Drawn], classes: int, size: tuple[int, int]) -> str:
    height, width = size
    for polygon in drawn:
        if polygon.class_ >= classes:
            raise Refused("bad_request", f"There is no class {polygon.class_}: expected 0 to {classes - 1}.")
        for ring in (polygon.points, *polygon.holes):
            if len(set(ring)) < 3:
                raise Refused("bad_request", "A polygon needs at least 3 different points.")
            if any(not (0 <= x <= width and 0 <= y <= height) for x, y in ring):
                raise Refused("bad_request", f"A point lies outside the image of {width} x {height} pixels.")
    return encode_polygons(
        Polygon(polygon.class_, tuple(polygon.points), tuple(tuple(hole) for hole in polygon.holes))
        for polygon in drawn
    )


def shown(class_id: int | None, value: str | None, kind: str) -> dict[str, Any]:
    """An answer's content as the page gets it; without a value ``void`` tells "cannot tell" from "taken back"."""
    if kind not in ("proportions", "coarse"):
        return {"class": class_id}
    void = {"void": True} if class_id == VOID else {}
    given = None if value is None else json.loads(value)
    if kind == "proportions":
        return {"proportions": given, **void}
    if given is not None:
        given = [{"class": row["class_id"], "points": row["points"], "holes": row.get("holes", [])} for row in given]
    return {"polygons": given, **void}
