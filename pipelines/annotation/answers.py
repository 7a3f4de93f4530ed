"""The answers of people: append-only in SQLite, durable before anyone is told so.

An answer is never changed. A correction, a withdrawal (undo) and the answer after it are rows that supersede the one
before, so that every (question, annotator) has a chain of rows and its last one counts. Two rows cannot supersede the
same one: that is the unique key, and what makes a repeated request harmless and two tabs safe.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from pipelines.annotation.mirror import InPlace, Mirror

Place: TypeAlias = tuple[int, str, str, int, int, int]
"""What is asked: round, kind, image_id, y, x, segment; -1 where the question is not about one."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    answer_id TEXT NOT NULL UNIQUE,
    round INTEGER NOT NULL, kind TEXT NOT NULL, image_id TEXT NOT NULL,
    y INTEGER NOT NULL, x INTEGER NOT NULL, segment INTEGER NOT NULL,
    annotator TEXT NOT NULL, class_id INTEGER, value TEXT,
    seconds REAL NOT NULL, labelled_at TEXT NOT NULL, supersedes TEXT NOT NULL,
    UNIQUE (round, kind, image_id, y, x, segment, annotator, supersedes)
);
CREATE TABLE IF NOT EXISTS leases (
    round INTEGER NOT NULL, kind TEXT NOT NULL, image_id TEXT NOT NULL,
    annotator TEXT NOT NULL, since REAL NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (round, kind, image_id)
);
"""


@dataclass(frozen=True)
class Answer:
    """One row.

    Attributes:
        round: In which it was asked.
        kind: pixel, region, proportions or coarse.
        image_id: The image.
        y: Row of the pixel, -1 where the question is not about one.
        x: Its column.
        segment: The superpixel asked about, -1 for none.
        annotator: Who answered.
        class_id: The class, 255 = cannot tell; None for a withdrawal and where `value` answers.
        value: Proportions or polygons as JSON.
        seconds: How long it took, None where that is not known; the database has -1 then.
        supersedes: The answer_id of the row before; empty for a first answer.
        labelled_at: When, ISO 8601 in UTC.
        answer_id: Its name, made from the question, the annotator and what it supersedes.
        seq: Order of arrival in this database.
    """

    round: int
    kind: str
    image_id: str
    y: int
    x: int
    segment: int
    annotator: str
    class_id: int | None
    value: str | None
    seconds: float | None
    supersedes: str = ""
    labelled_at: str = ""
    answer_id: str = ""
    seq: int = 0

    @property
    def place(self) -> Place:
        """What it answers."""
        return self.round, self.kind, self.image_id, self.y, self.x, self.segment

    @property
    def withdrawn(self) -> bool:
        """Whether it takes the answer before back and gives none."""
        return self.class_id is None and self.value is None

    def named(self) -> "Answer":
        """The same with its answer_id, and the time if it has none."""
        key = "\x1f".join(map(str, (*self.place, self.annotator, self.supersedes)))
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return replace(self, answer_id=name, labelled_at=self.labelled_at or datetime.now(UTC).isoformat())


class Conflict(Exception):
    """An answer does not supersede the current one.

    Args:
        current: The annotator's current answer to the question, None if there is none.
    """

    def __init__(self, current: Answer | None) -> None:
        super().__init__("another answer came before")
        self.current = current


_COLUMNS = [column.name for column in fields(Answer)]
_STORED = [name for name in _COLUMNS if name != "seq"]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM answers".replace("seconds", "nullif(seconds, -1)")
_INSERT = f"INSERT INTO answers ({', '.join(_STORED)}) VALUES ({', '.join(f':{name}' for name in _STORED)})".replace(
    ":seconds", "ifnull(:seconds, -1)"
)
# A put that was given up may lie in the mirror all the same: the answer that took its place is the later one.
_TAKE_IN = f"""{_INSERT.replace("INSERT", "INSERT OR IGNORE", 1)} ON CONFLICT (answer_id) DO UPDATE
SET class_id = excluded.class_id, value = excluded.value, seconds = excluded.seconds, labelled_at = excluded.labelled_at
WHERE excluded.labelled_at > labelled_at AND (excluded.class_id, excluded.value) IS NOT (class_id, value)"""

Check = Callable[[Sequence[Answer]], None]


class Answers:
    """The database of one run, safe to share between threads; several processes may open the same file.

    Args:
        path: The file; made with its folder where there is none.
        mirror: Where else answers must be durable before they count.
    """

    def __init__(self, path: Path, mirror: Mirror | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.mirror: Mirror = mirror or InPlace()
        self._waiting: list[_Ticket] = []
        self._queue = threading.Lock()
        self._unsure = False
        self.db = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(_SCHEMA)
        self.pull()

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection within one write transaction, which is durable when the block ends."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise

    def add(self, answers: Sequence[Answer], check: Check = lambda answers: None) -> list[Answer]:
        """Store answers, all of them or none, and return when they are durable.

        Requests that wait for each other's disk (or bucket) are stored together: whoever gets the lock first takes
        along all that wait.

        Args:
            answers: Without names; those that are stored already count as stored now.
            check: Called with the new ones within the transaction; what it raises refuses all of this call's answers.

        Returns:
            The rows, named, in the order given.

        Raises:
            Conflict: One of them does not supersede the annotator's current answer.
        """
        ticket = _Ticket([answer.named() for answer in answers], check)
        with self._queue:
            self._waiting.append(ticket)
        with self.lock:
            if not ticket.done:
                self._flush()
        if ticket.error is not None:
            raise ticket.error
        return ticket.rows

    def since(self, seq: int = 0) -> list[Answer]:
        """All rows that arrived after a row, in order of arrival."""
        with self.lock:
            found = self.db.execute(f"{_SELECT} WHERE seq > ? ORDER BY seq", (seq,))
            return [Answer(*row) for row in found]

    def pull(self) -> None:
        """Take in what others have put into the mirror."""
        for rows in self.mirror.new():
            with self.transaction() as db:
                db.executemany(_TAKE_IN, rows)

    def _flush(self) -> None:
        with self._queue:
            tickets, self._waiting = self._waiting, []
        try:
            if self._unsure:
                # The last put failed, but what it was to write may be there: others may have read it by now.
                self.pull()
                self._unsure = False
            with self.transaction() as db:
                stored: list[Answer] = []
                for ticket in tickets:
                    stored += ticket.store(db)
                if stored:
                    self._unsure = True
                    self.mirror.put([{name: asdict(row)[name] for name in _STORED} for row in stored])
            self._unsure = False
        except BaseException as error:
            for ticket in tickets:
                ticket.error = ticket.error or error
        finally:
            for ticket in tickets:
                ticket.done = True


class _Ticket:
    """One call's answers on their way."""

    def __init__(self, answers: list[Answer], check: Check) -> None:
        self.rows, self._check = answers, check
        self.done = False
        self.error: BaseException | None = None

    def store(self, db: sqlite3.Connection) -> list[Answer]:
        """Insert what is new; a fault of this call leaves the others' answers alone."""
        db.execute("SAVEPOINT call")
        try:
            fresh = []
            for number, answer in enumerate(self.rows):
                there = _row(db, "answer_id = ?", (answer.answer_id,))
                if there is not None and (there.class_id, there.value) == (answer.class_id, answer.value):
                    self.rows[number] = there
                    continue
                last = _last(db, answer)
                if answer.supersedes != ("" if last is None else last.answer_id):
                    raise Conflict(last)
                self._check([answer])
                cursor = db.execute(_INSERT, asdict(answer))
                self.rows[number] = replace(answer, seq=int(cursor.lastrowid or 0))
                fresh.append(self.rows[number])
            return fresh
        except Exception as error:
            db.execute("ROLLBACK TO call")
            self.error = error
            return []
        finally:
            db.execute("RELEASE call")


def _row(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Answer | None:
    found = db.execute(f"{_SELECT} WHERE {where}", values).fetchone()
    return None if found is None else Answer(*found)


def _last(db: sqlite3.Connection, answer: Answer) -> Answer | None:
    """The end of the annotator's chain for the question."""
    where = "round = ? AND kind = ? AND image_id = ? AND y = ? AND x = ? AND segment = ? AND annotator = ?"
    return _row(db, f"{where} ORDER BY seq DESC LIMIT 1", (*answer.place, answer.annotator))


def current_at(db: sqlite3.Connection, place: Place) -> dict[str, Answer]:
    """The current answers to a question by annotator, withdrawn ones left out."""
    where = "round = ? AND kind = ? AND image_id = ? AND y = ? AND x = ? AND segment = ?"
    found = db.execute(f"{_SELECT} WHERE {where}", place)
    given = heads(Answer(*row) for row in found).get(place, {})
    return {name: row for name, row in given.items() if not row.withdrawn}


def answered_at(db: sqlite3.Connection, place: Place, annotator: str) -> bool:
    """Whether an annotator has ever answered a question, also if they took it back."""
    where = "round = ? AND kind = ? AND image_id = ? AND y = ? AND x = ? AND segment = ? AND annotator = ?"
    return _row(db, f"{where} LIMIT 1", (*place, annotator)) is not None


def heads(answers: Iterable[Answer]) -> dict[Place, dict[str, Answer]]:
    """The last row of every chain: by question, then by annotator; withdrawals too.

    Args:
        answers: Rows in any order.
    """
    rows = list(answers)
    superseded = {row.supersedes for row in rows}
    found: dict[Place, dict[str, Answer]] = {}
    for row in rows:
        if row.answer_id not in superseded:
            found.setdefault(row.place, {})[row.annotator] = row
    return found


def encode(value: object) -> str:
    """Proportions or polygons as the text of `value`."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
