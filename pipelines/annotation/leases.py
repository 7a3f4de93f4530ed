"""Who holds which image: one annotator at a time, until so long after the last sign of life.

All functions work within a transaction of :class:`pipelines.annotation.answers.Answers`, so that a lease and the
answer that needs it are decided together, whatever process asks.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

_KEY = "round = ? AND kind = ? AND image_id = ?"


def take(
    db: sqlite3.Connection, round: int, kind: str, image_id: str, annotator: str, *, now: float, lifetime: float
) -> bool:
    """Take or renew the lease of an image.

    Args:
        db: The connection, within a transaction.
        round: The round.
        kind: The page: pixel, proportions or coarse.
        image_id: The image.
        annotator: Who wants it.
        now: Seconds since the epoch.
        lifetime: Seconds that a lease lasts without a sign of life.

    Returns:
        False where another holds it.
    """
    held = db.execute(f"SELECT annotator, seen FROM leases WHERE {_KEY}", (round, kind, image_id)).fetchone()
    if held is not None and held[0] == annotator:
        db.execute(f"UPDATE leases SET seen = ? WHERE {_KEY}", (now, round, kind, image_id))
        return True
    if held is not None and now - held[1] <= lifetime:
        return False
    db.execute("REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", (round, kind, image_id, annotator, now, now))
    return True


def release(db: sqlite3.Connection, round: int, kind: str, image_id: str, annotator: str) -> None:
    """Give an image back; nothing happens where another holds it."""
    db.execute(f"DELETE FROM leases WHERE {_KEY} AND annotator = ?", (round, kind, image_id, annotator))


def end(db: sqlite3.Connection, kind: str, image_id: str, annotator: str) -> None:
    """End an annotator's leases of an image on a page, as if there had been no sign of life for long."""
    db.execute(
        "UPDATE leases SET seen = 0 WHERE kind = ? AND image_id = ? AND annotator = ?", (kind, image_id, annotator)
    )


def since(db: sqlite3.Connection, round: int, kind: str, image_id: str, annotator: str) -> float | None:
    """When an annotator took the lease of an image (seconds since the epoch), expired or not; None without one."""
    found = db.execute(
        f"SELECT since FROM leases WHERE {_KEY} AND annotator = ?", (round, kind, image_id, annotator)
    ).fetchone()
    return None if found is None else float(found[0])


def holders(db: sqlite3.Connection, round: int, kind: str, *, now: float, lifetime: float) -> dict[str, str]:
    """Who holds which image of a round and page now: image_id to annotator, in the order in which they were taken."""
    rows = db.execute(
        "SELECT image_id, annotator FROM leases WHERE round = ? AND kind = ? AND seen >= ? ORDER BY since, rowid",
        (round, kind, now - lifetime),
    )
    return dict(rows.fetchall())


def rows(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """All leases, in the order in which they were taken: round, page, image_id, annotator, since, seen."""
    return db.execute("SELECT * FROM leases ORDER BY since, rowid").fetchall()


def restore(db: sqlite3.Connection, kept: Iterable[Sequence[Any]], *, away: float) -> None:
    """Put the leases of another store in the place of all that are here.

    Args:
        db: The connection, within a transaction.
        kept: What :func:`rows` gave.
        away: Seconds since then, in which nobody could give a sign of life: they do not count.
    """
    db.execute("DELETE FROM leases")
    found = [(*key, seen + away) for *key, seen in kept]
    db.executemany("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)", found)


def renew(db: sqlite3.Connection, image_id: str, annotator: str, *, now: float) -> None:
    """Renew an annotator's leases of an image, also expired ones that nobody else has taken."""
    db.execute("UPDATE leases SET seen = ? WHERE image_id = ? AND annotator = ?", (now, image_id, annotator))


def seen(db: sqlite3.Connection, image_id: str, annotator: str) -> bool:
    """Whether an annotator has a lease of an image that nobody else has taken since."""
    found = db.execute("SELECT 1 FROM leases WHERE image_id = ? AND annotator = ? LIMIT 1", (image_id, annotator))
    return found.fetchone() is not None
