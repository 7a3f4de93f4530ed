"""What the page is told of images and questions, under names that only this server can make."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.annotation import leases
from pipelines.annotation.answers import Answer
from pipelines.annotation.asked import PAGES, Question
from pipelines.annotation.desk import Desk, Refused
from pipelines.annotation.messages import shown
from pipelines.annotation.pictures import Pictures
from pipelines.annotation.rounds import Standing
from pipelines.annotation.security import Secret
from weakseg.datasets import Classes

DOTS = 300
"""Earlier answers shown in one image."""


@dataclass(frozen=True)
class Site:
    """All that the application works with.

    Attributes:
        run: The run's name.
        rounds: How many rounds are planned.
        desk: Questions and answers.
        pictures: The images.
        classes: The classes.
        secret: Makes tokens, cookies and handles.
        annotators: Who may come in.
        hosts: Names by which the server goes.
    """

    run: str
    rounds: int
    desk: Desk
    pictures: Pictures
    classes: Classes
    secret: Secret
    annotators: Sequence[str]
    hosts: frozenset[str]

    @property
    def mark(self) -> str:
        """Tells browsers this run from others, whatever machine serves it."""
        return self.secret.mac("mark", self.run, digits=8)

    @property
    def cookie(self) -> str:
        """The name of this run's cookie: a browser keeps those of all ports of a host together."""
        return f"weakseg_session_{self.mark}"

    def image(self, handle: str) -> int:
        """The number of an image.

        Raises:
            Refused: unknown_image.
        """
        numbers = self.secret.numbers("image", handle)
        if numbers is None or len(numbers) != 1 or numbers[0] >= len(self.pictures.image_ids):
            raise Refused("unknown_image", "There is no such image.")
        return numbers[0]

    def question(self, handle: str) -> tuple[Standing, Question]:
        """A question and its round.

        Raises:
            Refused: unknown_query.
        """
        numbers = self.secret.numbers("query", handle)
        if numbers is not None and len(numbers) == 2:
            standing = self.desk.rounds.get(numbers[0])
            if standing is not None and numbers[1] < len(standing.questions):
                return standing, standing.questions[numbers[1]]
        raise Refused("unknown_query", "There is no such question.")

    def image_handle(self, image_id: str) -> str:
        """An image's opaque name."""
        return self.secret.handle("image", self.pictures.numbers[image_id])

    def query_handle(self, question: Question) -> str:
        """A question's opaque name."""
        return self.secret.handle("query", question.place[0], question.row)


def progress(site: Site, annotator: str) -> dict[str, Any]:
    """How far the questions are, by page in their order, and whether a page has something for this annotator now."""
    desk = site.desk
    with desk.answers.lock:
        found, asked = desk.progress(annotator), desk.pages
        return {
            page: {**found[page], "open": desk.asking is not None and _open(desk, asked[page], page, annotator)}
            for page in dict.fromkeys(PAGES.values())
            if page in found
        }


def _open(desk: Desk, standing: Standing, page: str, annotator: str) -> bool:
    """Whether some image is asked of an annotator that nobody else holds."""
    held = leases.holders(desk.answers.db, standing.number, page, now=desk.clock(), lifetime=desk.lifetime)
    return any(held.get(image_id, annotator) == annotator for image_id in standing.open_images(page, annotator))


def image_view(
    site: Site, standing: Standing, annotator: str, image_id: str, asked: Sequence[Question]
) -> dict[str, Any]:
    """An image with some of its questions."""
    handle = site.image_handle(image_id)
    height, width = site.pictures.sizes[site.pictures.numbers[image_id]]
    return {
        "image": handle,
        "url": f"/api/images/{handle}",
        "height": height,
        "width": width,
        "queries": [query_view(site, standing, annotator, question) for question in by_nearness(asked)],
        "dots": dots(site.desk, standing, annotator, image_id) if any(q.page == "pixel" for q in asked) else [],
    }


def query_view(site: Site, standing: Standing, annotator: str, question: Question) -> dict[str, Any]:
    """A question with my answer; why it is asked is not told."""
    _, kind, _, y, x, _ = question.place
    row = standing.mine(question, annotator)
    handle = site.query_handle(question)
    return {
        "query": handle,
        "kind": kind,
        "y": None if y < 0 else y,
        "x": None if x < 0 else x,
        "outline": f"/api/regions/{handle}" if kind == "region" else None,
        "answer": None if row is None else answer_view(row),
    }


def answer_view(row: Answer) -> dict[str, Any]:
    """An answer's name and content; a withdrawn one has the content null."""
    return {"id": row.answer_id, **shown(row.class_id, row.value, row.kind)}


def dots(desk: Desk, standing: Standing, annotator: str, image_id: str) -> list[dict[str, int]]:
    """Earlier answers in an image: those of earlier rounds that are trained on, and mine of this one."""
    found: dict[tuple[int, int], int] = {}
    for number in sorted(desk.rounds):
        if number > standing.number:
            break
        earlier = desk.rounds[number]
        for question in earlier.by_image.get(("pixel", image_id), []):
            row = earlier.mine(question, annotator)
            if number < standing.number and question.purpose == "train":
                class_id = earlier.decision(question)
            else:
                class_id = None if row is None else row.class_id
            if class_id is not None and earlier.given(question):
                found[question.place[3], question.place[4]] = class_id
    return [{"y": y, "x": x, "class": class_id} for (y, x), class_id in found.items()][-DOTS:]


def by_nearness(asked: Iterable[Question]) -> list[Question]:
    """Questions so that the next is the nearest: the eye has the shortest way, and purposes are mixed."""
    left = sorted(asked, key=lambda question: question.place[3:5])
    ordered = left[:1]
    rest = left[1:]
    while rest:
        y, x = ordered[-1].place[3:5]
        nearest = min(rest, key=lambda question: math.hypot(question.place[3] - y, question.place[4] - x))
        rest.remove(nearest)
        ordered.append(nearest)
    return ordered


def disagreements(site: Site, annotator: str, *, limit: int = 200) -> list[dict[str, Any]]:
    """Questions that several people answered differently, newest round first; only those that this one answered."""
    found: list[dict[str, Any]] = []
    for number in sorted(site.desk.rounds, reverse=True):
        standing = site.desk.rounds[number]
        for place, rows in standing.heads.items():
            question = standing.by_place[place]
            given = standing.given(question) if len(rows) > 1 else {}
            if annotator in given and len({row.class_id for row in given.values()}) > 1:
                people = [
                    {"annotator": name, "class": row.class_id, "seconds": row.seconds, "mine": name == annotator}
                    for name, row in given.items()
                ]
                found.append(
                    {
                        "image": image_view(site, standing, annotator, question.image_id, [question]),
                        "query": site.query_handle(question),
                        "round": number,
                        "answers": people,
                        "decision": standing.decision(question),
                    }
                )
                if len(found) == limit:
                    return found
    return found


def history(site: Site, annotator: str, page: str, *, limit: int, before: str | None) -> list[dict[str, Any]]:
    """An annotator's current answers on a page, newest first, each with its image and all that they answered there."""
    rows = [
        (standing, question, row)
        for standing in site.desk.rounds.values()
        for place, by_name in standing.heads.items()
        if (row := by_name.get(annotator)) is not None
        and not row.withdrawn
        and (question := standing.by_place[place]).page == page
    ]
    rows.sort(key=lambda found: found[2].seq, reverse=True)
    if before is not None:
        start = next((number + 1 for number, found in enumerate(rows) if found[2].answer_id == before), len(rows))
        rows = rows[start:]
    views: dict[tuple[int, str], dict[str, Any]] = {}
    shown_rows = []
    for standing, question, row in rows[:limit]:
        key = standing.number, question.image_id
        if key not in views:
            asked = [q for q in standing.by_image[page, question.image_id] if standing.for_me(q, annotator)]
            views[key] = image_view(site, standing, annotator, question.image_id, asked)
        shown_rows.append(
            {
                "image": views[key],
                "query": site.query_handle(question),
                "answer": answer_view(row),
                "round": standing.number,
                "answered_at": row.labelled_at,
            }
        )
    return shown_rows
