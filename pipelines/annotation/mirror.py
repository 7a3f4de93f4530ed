"""Where answers are durable beside SQLite: nowhere else in a folder, in batches of their own where the run lies on S3.

A bucket holds no SQLite file that could be written in place. There the database is this machine's cache of the batches,
and a batch is put before any of its answers is acknowledged. The leases lie there too: a server on another machine has
to know whose answers may still be on their way.
"""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipelines.storage import Storage

Row = dict[str, Any]


class Mirror(Protocol):
    """Makes answers durable elsewhere, and tells what others have put there."""

    def put(self, rows: list[Row]) -> None:
        """Return once the rows are durable; raise if they are not."""

    def new(self) -> Iterator[list[Row]]:
        """The batches that this object has neither put nor given before."""

    def put_leases(self, leases: Row) -> None:
        """Return once it is durable who holds which image; raise if it is not."""

    def leases(self) -> Row | None:
        """What was put last, by whatever machine; None where the database is all there is."""


class InPlace:
    """The database lies in the run's own folder: it is the durable place itself."""

    def put(self, rows: list[Row]) -> None:
        """Nothing: the commit that follows is durable."""

    def new(self) -> Iterator[list[Row]]:
        """Nothing: whoever opens the database sees all of it."""
        return iter(())

    def put_leases(self, leases: Row) -> None:
        """Nothing: they are in the database."""

    def leases(self) -> None:
        """Nothing: they are in the database."""


@dataclass
class Batches:
    """Batches of answers as objects of the storage, each created once.

    Args:
        storage: Where the run lies.
        folder: The key of the folder of batches.
    """

    storage: Storage
    folder: str
    _seen: set[str] = field(default_factory=set)
    _last: int = 0

    def put(self, rows: list[Row]) -> None:
        """Create one object. The time in its name keeps batches in order, the token makes it unique."""
        # Later than all that were seen: a correction must not come before what it corrects where clocks differ.
        self._last = max(time.time_ns(), self._last + 1)
        key = f"{self.folder}/{self._last:020d}-{secrets.token_hex(8)}.json"
        # Nobody else can have the name: an object that is there already is ours, put by a try whose reply was lost.
        self.storage.create_once(key, json.dumps(rows, ensure_ascii=False).encode())
        self._seen.add(key)

    def new(self) -> Iterator[list[Row]]:
        """The batches of others, and after a restart those of before, in order of their names."""
        for key in self.storage.list(self.folder):
            if key not in self._seen:
                yield json.loads(self.storage.read_bytes(key))
                self._seen.add(key)  # only now: what could not be taken in is given again
                self._last = max(self._last, _number(key))

    def put_leases(self, leases: Row) -> None:
        """Replace the one object beside the batches: only the server of the page writes it, and there is one."""
        self.storage.write_bytes(self._leases, json.dumps(leases).encode())

    def leases(self) -> Row | None:
        """That object; None where no image has been handed out."""
        try:
            return dict(json.loads(self.storage.read_bytes(self._leases)))
        except FileNotFoundError:
            return None

    @property
    def _leases(self) -> str:
        return f"{self.folder}.leases.json"


def _number(key: str) -> int:
    """The time in a batch's name; 0 for what somebody else put there."""
    head = key.rpartition("/")[2].partition("-")[0]
    return int(head) if head.isdecimal() else 0
