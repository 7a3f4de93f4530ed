"""One round as it stands: its questions, who answered what, and what is still open. Kept in memory, fed by the rows."""

import math
import statistics
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.annotation.answers import Answer, Place
from pipelines.annotation.asked import Question
from pipelines.annotation.consensus import decide, wanted

_RECENT = 300.0
"""Seconds from which the pace is read."""


@dataclass
class Standing:
    """The answers to a round's questions.

    Args:
        number: The round.
        questions: What it asks.
        people: The annotators; answers of others, which come from files, count beside theirs.
        closed: Whether its label table is written.
    """

    number: int
    questions: list[Question]
    people: frozenset[str]
    closed: bool = False
    by_place: dict[Place, Question] = field(default_factory=dict)
    by_image: dict[tuple[str, str], list[Question]] = field(default_factory=lambda: defaultdict(list))
    heads: dict[Place, dict[str, Answer]] = field(default_factory=lambda: defaultdict(dict))
    _open: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    _pages: dict[str, "Tally"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the questions."""
        for question in self.questions:
            self.by_place[question.place] = question
            self.by_image[question.page, question.image_id].append(question)
            self._open[question.page][question.image_id] = None
            self._pages.setdefault(question.page, Tally()).asked += self._planned(question)

    @property
    def pages(self) -> Iterable[str]:
        """The pages on which it asks."""
        return self._pages.keys()

    def feed(self, rows: Iterable[Answer]) -> None:
        """Take in rows of this round in order of arrival; those to nothing that was asked are passed over."""
        for row in rows:
            question = self.by_place.get(row.place)
            if question is None:
                continue
            before = self._given(question)
            self.heads[row.place][row.annotator] = row
            tally = self._pages[question.page]
            tally.answered += self._given(question) - before
            tally.count(row)
            key = question.page, question.image_id
            if any(self.lacks(other) for other in self.by_image[key]):
                self._open[question.page].setdefault(question.image_id)
            else:
                self._open[question.page].pop(question.image_id, None)

    def given(self, question: Question) -> dict[str, Answer]:
        """The current answers to a question by annotator, withdrawn ones left out."""
        return {name: row for name, row in self.heads.get(question.place, {}).items() if not row.withdrawn}

    def lacks(self, question: Question) -> bool:
        """Whether a further answer is wanted."""
        given = self.given(question)
        return len(given) < needed(given, question, self.people)

    def mine(self, question: Question, annotator: str) -> Answer | None:
        """An annotator's last row about a question, a withdrawal too."""
        return self.heads.get(question.place, {}).get(annotator)

    def for_me(self, question: Question, annotator: str) -> bool:
        """Whether an annotator is to be shown a question: it is open and not answered by them, or theirs already."""
        row = self.mine(question, annotator)
        return self.lacks(question) or (row is not None and not row.withdrawn)

    def open_images(self, page: str, annotator: str) -> Iterable[str]:
        """Images with a question that still wants an answer from somebody like this annotator, in the round's order."""
        for image_id in list(self._open[page]):
            for question in self.by_image[page, image_id]:
                row = self.mine(question, annotator)
                if self.lacks(question) and (row is None or row.withdrawn):
                    yield image_id
                    break

    def complete(self, share: float) -> bool:
        """Whether that share of all that is asked has been answered, on every page."""
        if share >= 1:
            return not any(self._open.values())
        return all(tally.answered >= tally.needed(share) for tally in self._pages.values())

    def progress(self, annotator: str, share: float, *, now: float) -> dict[str, Any]:
        """How far the round is, for all and for one, by page."""
        return {
            page: {
                "asked": tally.asked,
                "answered": min(tally.answered, tally.asked),
                "needed": tally.needed(share),
                "mine": len(tally.seconds[annotator]),
                "median_seconds": median(tally.seconds[annotator].values()),
                "seconds_left": tally.left(share, now=now),
            }
            for page, tally in self._pages.items()
        }

    def _given(self, question: Question) -> int:
        return min(len(self.given(question)), self._planned(question))

    def _planned(self, question: Question) -> int:
        return min(question.copies, len(self.people))

    def decision(self, question: Question) -> int | None:
        """The majority's class; None while undecided, 255 where nobody is left to ask."""
        given = self.given(question)
        found = decide(_classes(given))
        return 255 if found is None and not self.lacks(question) else found

    def tied(self, question: Question) -> bool:
        """Whether people differ about a pixel or region, and nobody is left to ask."""
        given = self.given(question)
        return (
            question.page == "pixel" and len(given) > 1 and decide(_classes(given)) is None and not self.lacks(question)
        )


@dataclass
class Tally:
    """Counts of one page's questions and answers."""

    asked: int = 0
    answered: int = 0
    seconds: dict[str, dict[Place, float | None]] = field(default_factory=lambda: defaultdict(dict))
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=200))

    def count(self, row: Answer) -> None:
        """One more row."""
        if row.withdrawn:
            self.seconds[row.annotator].pop(row.place, None)
        else:
            self.seconds[row.annotator][row.place] = row.seconds
            self._times.append(datetime.fromisoformat(row.labelled_at).timestamp())

    def needed(self, share: float) -> int:
        """How many answers that share of the questions is."""
        # 0.55 * 100 is a little more than 55.
        return math.ceil(share * self.asked - 1e-9)

    def left(self, share: float, *, now: float) -> float | None:
        """Seconds that the rest takes at the pace of the last minutes; None without one."""
        recent = [moment for moment in self._times if moment > now - _RECENT]
        rest = max(0, self.needed(share) - self.answered)
        if rest == 0:
            return 0.0
        if len(recent) < 3 or now <= min(recent):
            return None
        return rest * (now - min(recent)) / len(recent)


def needed(given: Mapping[str, Answer], question: Question, people: frozenset[str]) -> int:
    """How many answers a question needs.

    Args:
        given: Those that it has, by annotator.
        question: The question.
        people: The annotators.
    """
    if question.page != "pixel":
        return 1  # about a whole image: no majority settles it, so nobody else is asked
    return wanted(_classes(given), copies=question.copies, people=len(people | given.keys()))


def _classes(given: Mapping[str, Answer]) -> list[int]:
    # No majority is asked for about whole images: any number stands for what has no class.
    return [-1 if row.class_id is None else row.class_id for row in given.values()]


def median(seconds: Iterable[float | None]) -> float | None:
    """The median of those that are known; None where none is."""
    known = [value for value in seconds if value is not None]
    return statistics.median(known) if known else None
