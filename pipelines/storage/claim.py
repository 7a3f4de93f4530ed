"""A lock on S3: an object that its holder keeps changing, and that others take over when it has stood still.

It is created under the condition that there is none (If-None-Match) and advanced under the condition that it is still
the version last seen (If-Match), so of any number of takers at once exactly one succeeds. Nobody compares clocks: who
wants the lock watches the version for as long as a living holder would have changed it several times over.
"""

import datetime
import json
import logging
import os
import secrets
import socket
import threading
import time
from typing import Any, Protocol, Self

from weakseg.errors import WeaksegError

HEARTBEAT_SECONDS = 5.0
"""Between two signs of life."""

SILENT_BEATS = 6
"""A holder that missed so many signs of life is taken for dead: after 30 s."""

_log = logging.getLogger(__name__)


class Versions(Protocol):
    """A storage that can compare and set."""

    @property
    def root(self) -> str:
        """Its name."""

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """A file's content and version."""

    def replace(self, key: str, data: bytes, version: str | None) -> str | None:
        """Write a file if it is still of this version."""


class Claim:
    """A lock on a key of a bucket, from :meth:`acquire` to :meth:`release` or the end of the process.

    Args:
        storage: Where the key lies.
        key: The lock's file; it stays.
        token: Who wants it; drawn if not given.
        heartbeat: Seconds between signs of life.
    """

    def __init__(
        self, storage: Versions, key: str, *, token: str | None = None, heartbeat: float = HEARTBEAT_SECONDS
    ) -> None:
        """Prepare a claim that is not held yet."""
        self._storage, self._key, self._heartbeat = storage, key, heartbeat
        self.token = token or secrets.token_hex(16)
        self._started, self._beats = now(), 0
        self._version: str | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, *, wait: bool = False) -> None:
        """Take the lock.

        Args:
            wait: Whether to wait for a living holder instead of failing.

        Raises:
            BlockingIOError: If another holds it, is alive, and ``wait`` is false.
            ResourceError: If the storage refuses.
        """
        while not self._taken():
            if not wait:
                raise BlockingIOError(f"{self._key} in {self._storage.root} is held by another process")
        self._thread = threading.Thread(target=self._keep_beating, name=f"heartbeat of {self._key}", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others take the lock at once; a second call does nothing."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        try:
            self._advance(self._version, released=True)
        except (WeaksegError, OSError) as error:
            _log.warning("%s was not given free and will be taken for dead: %s", self._key, error)

    def __enter__(self) -> Self:
        """Hold the lock for a block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Release it."""
        self.release()

    def _taken(self) -> bool:
        """Take the lock if it is free, or if its holder shows no life while it is watched."""
        try:
            data, version = self._storage.read_versioned(self._key)
        except FileNotFoundError:
            return self._advance(None)
        if read(data) is not None:
            moved = watch(self._storage, self._key, version, seconds=SILENT_BEATS * self._heartbeat)
            if moved is not None and read(moved[0]) is not None:
                return False
            version = version if moved is None else moved[1]
        return self._advance(version)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._heartbeat):
            try:
                if not self._advance(self._version):
                    _log.warning("%s in %s was taken over by another process", self._key, self._storage.root)
                    return
            except (WeaksegError, OSError) as error:
                _log.warning("heartbeat of %s failed: %s", self._key, error)

    def _advance(self, version: str | None, *, released: bool = False) -> bool:
        """Write the next sign of life over a version; whether the lock is ours then."""
        self._beats += 1
        data = signature(self.token, self._started, beat=self._beats, released=released)
        found = self._storage.replace(self._key, data, version)
        if found is None:
            # Ours all the same if it was the reply to an earlier write of ours that was lost.
            try:
                there, found = self._storage.read_versioned(self._key)
            except FileNotFoundError:
                return False
            if (read(there) or {}).get("token") != self.token:
                return False
            if released:
                found = self._storage.replace(self._key, data, found)
        self._version = found
        return found is not None


def watch(storage: Versions, key: str, version: str | None = None, *, seconds: float) -> tuple[bytes, str] | None:
    """Watch a lock's file for a change.

    Args:
        storage: Where it lies.
        key: The file.
        version: As it was seen; None = as it is now.
        seconds: For how long.

    Returns:
        The changed content and version, None if it stood still.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, seconds / 30))
        try:
            found = storage.read_versioned(key)
        except FileNotFoundError:
            return None
        version = version or found[1]
        if found[1] != version:
            return found
    return None


def signature(token: str, started: str, *, beat: int = 0, released: bool = False) -> bytes:
    """A sign of life: who holds a lock. No two of one holder are equal, as their number is in them."""
    record = {
        "token": token,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": started,
        "heartbeat": now(),
    }
    counted = {"beat": beat} if beat else {}
    return json.dumps({**record, **counted, **({"released": True} if released else {})}, indent=1).encode()


def read(data: bytes) -> dict[str, Any] | None:
    """Who holds a lock, by its file: None if nobody does any more, or if it cannot be read."""
    try:
        record = json.loads(data)
    except ValueError:
        return None
    return record if isinstance(record, dict) and not record.get("released") else None


def now() -> str:
    """The time, as people read it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
