"""The desk: hands images out to annotators, takes their answers, and knows how far the round is.

It meets the driver in the ledger only: a round is asked from the moment `asked.parquet` is there, and closed from the
moment its label table is.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.annotation import leases
from pipelines.annotation.answers import Answer, Answers, answered_at, current_at
from pipelines.annotation.asked import ASKED, Question, questions
from pipelines.annotation.rounds import Standing, needed
from pipelines.ledger import Ledger

LOOK_SECONDS = {True: 1.0, False: 5.0}
"""How often the ledger is looked at for what the driver did: in a folder, and in a bucket, where it costs requests."""


class Refused(Exception):
    """Something that the desk does not do.

    Args:
        code: What the page goes by: not_yours, lease_lost, unknown_query.
        message: A sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Entry:
    """An answer as it comes in: a class, a value (proportions or polygons as JSON), or neither to withdraw."""

    question: Question
    class_id: int | None
    value: str | None
    seconds: float
    replaces: str


class Desk:
    """The questions and answers of one run.

    Args:
        ledger: The run, held or only read.
        answers: Its answers.
        people: The annotators' names.
        lifetime: Seconds that a lease lasts without a sign of life.
        share: The share of the questions that must be answered.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        answers: Answers,
        *,
        people: Sequence[str],
        lifetime: float,
        share: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger, self.answers, self.people = ledger, answers, tuple(people)
        self.lifetime, self.share, self.clock = lifetime, share, clock
        self.rounds: dict[int, Standing] = {}
        self._seq, self._looked = 0, float("-inf")
        self.refresh()

    @property
    def standing(self) -> Standing | None:
        """The newest round; None before the first is asked."""
        with self.answers.lock:
            return self.rounds[max(self.rounds)] if self.rounds else None

    @property
    def asking(self) -> Standing | None:
        """The round that is asked now, None between rounds."""
        newest = self.standing
        return None if newest is None or newest.closed else newest

    @property
    def pages(self) -> dict[str, Standing]:
        """Which round's questions a page has: of pixels the newest's, of whole images those of the one that asked."""
        with self.answers.lock:
            found: dict[str, Standing] = {}
            for standing in self.rounds.values():
                found.pop("pixel", None)
                found |= dict.fromkeys(standing.pages, standing)
            return found

    def late(self, standing: Standing, question: Question) -> bool:
        """Whether an answer comes after the training that it was asked for; whole images are asked in all rounds."""
        return standing.closed and (question.page == "pixel" or self.asking is None)

    def refresh(self, *, now: bool = False) -> None:
        """Look at the ledger for new and closed rounds, now and then, and take in new answers."""
        with self.answers.lock:
            if now or time.monotonic() - self._looked >= LOOK_SECONDS[self.ledger.storage.is_local]:
                self.answers.pull()
                self._sync()
                number = len(self.rounds) - 1
                if number >= 0 and not self.rounds[number].closed:
                    self.rounds[number].closed = self._closed(number)
                while self.ledger.exists(f"{self.ledger.round(len(self.rounds))}/{ASKED}"):
                    number = len(self.rounds)
                    table = self.ledger.read_table(f"{self.ledger.round(number)}/{ASKED}")
                    standing = Standing(number, questions(table), frozenset(self.people), self._closed(number))
                    standing.feed(row for row in self.answers.since() if row.round == number and row.seq <= self._seq)
                    self.rounds[number] = standing
                self._looked = time.monotonic()
            self._sync()

    def resume(self) -> None:
        """Take over the leases that a server on another machine gave; only for the one that serves the page."""
        kept = self.answers.mirror.leases()
        if kept is not None:
            with self.answers.transaction() as db:
                leases.restore(db, kept["leases"], away=self.clock() - kept["at"])

    def work(self, annotator: str, page: str, images: int) -> tuple[Standing, list[str]] | None:
        """Images of an annotator's: those held that still have something to answer, then new ones.

        Args:
            annotator: Who asks.
            page: pixel, proportions or coarse.
            images: How many at most.

        Returns:
            The round that asked first, and the image_ids; None where nothing is asked.
        """
        self.refresh()
        with self.answers.lock:
            if self.asking is None:
                return None
            standing = self.pages.get(page, self.asking)
            now, number = self.clock(), standing.number
            with self.answers.transaction() as db:
                held = leases.holders(db, number, page, now=now, lifetime=self.lifetime)
                mine = [image_id for image_id, holder in held.items() if holder == annotator]
                todo = dict.fromkeys(standing.open_images(page, annotator))
                chosen = [image_id for image_id in mine if image_id in todo][:images]
                for image_id in todo:
                    if len(chosen) >= images:
                        break
                    if image_id not in held:
                        chosen.append(image_id)
                for image_id in chosen:
                    leases.take(db, number, page, image_id, annotator, now=now, lifetime=self.lifetime)
                for image_id in set(mine) - set(todo):
                    # Done with: others may be wanted there, and who did it may still change what they said.
                    leases.release(db, number, page, image_id, annotator)
                if not set(chosen) <= set(mine):
                    self.answers.mirror.put_leases({"at": now, "leases": leases.rows(db)})
            return standing, chosen

    def add(self, annotator: str, entries: Sequence[Entry]) -> list[Answer]:
        """Store an annotator's answers, all or none; they are durable when this returns.

        Raises:
            Refused: A question is another's.
            Conflict: An entry does not replace the annotator's current answer.
        """
        rows = [self._row(annotator, entry) for entry in entries]
        kept = self.answers.add(rows, check=self._check)
        self._sync()
        return kept

    def may_see(self, annotator: str, image_id: str) -> bool:
        """Whether an annotator holds an image, or has answered in it."""
        with self.answers.lock:
            if leases.seen(self.answers.db, image_id, annotator):
                return True
            answered = "SELECT 1 FROM answers WHERE image_id = ? AND annotator = ? LIMIT 1"
            return self.answers.db.execute(answered, (image_id, annotator)).fetchone() is not None

    def renew(self, annotator: str, image_ids: Iterable[str]) -> None:
        """Renew the leases that nobody else has taken."""
        with self.answers.transaction() as db:
            for image_id in image_ids:
                leases.renew(db, image_id, annotator, now=self.clock())

    def release(self, annotator: str, page: str, image_ids: Iterable[str]) -> None:
        """Leave images of a page to others; until one takes them they are the annotator's to go on with."""
        with self.answers.transaction() as db:
            for image_id in image_ids:
                leases.end(db, page, image_id, annotator)

    def progress(self, annotator: str) -> dict[str, Any]:
        """How far the questions are, by page."""
        with self.answers.lock:
            now = self.clock()
            return {page: by.progress(annotator, self.share, now=now)[page] for page, by in self.pages.items()}

    def _row(self, annotator: str, entry: Entry) -> Answer:
        round, kind, image_id, y, x, segment = entry.question.place
        with self.answers.lock:
            since = leases.since(self.answers.db, round, entry.question.page, image_id, annotator)
        # Nobody has looked at an image for longer than they have had it.
        most = 3600.0 if kind in ("proportions", "coarse") else 600.0
        if since is not None:
            most = min(most, max(0.0, self.clock() - since))
        seconds = min(max(entry.seconds, 0.0), most)
        return Answer(
            round, kind, image_id, y, x, segment, annotator, entry.class_id, entry.value, seconds, entry.replaces
        )

    def _check(self, rows: Sequence[Answer]) -> None:
        """Refuse an answer to a question that is another's; own answers may always be corrected.

        Who has a question's name was given the question: a lease that nobody knows of any more is given anew.
        """
        db = self.answers.db
        for row in rows:
            question = self.rounds[row.round].by_place[row.place]
            given = current_at(db, row.place)
            lease = row.round, question.page, row.image_id, row.annotator
            if row.annotator in given:
                if row.withdrawn:  # who takes an answer back is about to give another
                    leases.take(db, *lease, now=self.clock(), lifetime=self.lifetime)
                continue
            if row.withdrawn:
                raise Refused("bad_request", "There is no answer to take back.")
            again = answered_at(db, row.place, row.annotator)  # taken back: theirs to give anew, whoever has the image
            known = again or leases.since(db, *lease) is not None
            enough = len(given) >= needed(given, question, frozenset(self.people))
            if enough or not (leases.take(db, *lease, now=self.clock(), lifetime=self.lifetime) or again):
                if not known:
                    raise Refused("not_yours", "This image is somebody else's.")
                raise Refused("lease_lost", "This image went to somebody else while you were away.")

    def _closed(self, number: int) -> bool:
        return self.ledger.exists(f"{self.ledger.round(number)}/labels.parquet")

    def _sync(self) -> None:
        with self.answers.lock:
            for row in self.answers.since(self._seq):
                if row.round in self.rounds:
                    self.rounds[row.round].feed([row])
                self._seq = row.seq
