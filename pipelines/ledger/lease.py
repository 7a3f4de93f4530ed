"""One owner per run: a lock that dies with its process, and a heartbeat that says who it is.

On one machine the lock alone decides, so that a dead owner is replaced at once. Where a run's folder is shared
between machines the lock may not be: an owner on another host counts as alive while its heartbeat moves. On S3 there
is nothing but the heartbeat: `owner.json` itself is the lock (:mod:`pipelines.storage.claim`).
"""

import datetime
import logging
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from pipelines.ledger.layout import run_key
from pipelines.storage import Storage, claim
from pipelines.storage.kind import Held
from weakseg.errors import LedgerError, WeaksegError

HEARTBEAT_SECONDS = claim.HEARTBEAT_SECONDS
FRESH_SECONDS = claim.SILENT_BEATS * HEARTBEAT_SECONDS
"""An owner whose heartbeat is older than this is taken for dead where nobody can tell otherwise."""

_log = logging.getLogger(__name__)


class Lease:
    """The right to write a run, from :meth:`acquire` to :meth:`release` or the end of the process.

    Args:
        storage: Where the run lies.
        run: Its name.
        heartbeat: Seconds between signs of life.
    """

    def __init__(self, storage: Storage, run: str, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        """Prepare a lease that is not held yet."""
        self._storage, self._run, self._heartbeat = storage, run, heartbeat
        self._key = owner_key(run)
        self.token = secrets.token_hex(16)
        self._started = claim.now()
        self._lock: Held | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Become the owner, or learn who is.

        Raises:
            LedgerError: If another driver owns the run; the text says who and since when.
            ResourceError: If the storage cannot be written.
        """
        if not self._storage.is_local:
            held = claim.Claim(self._storage, self._key, token=self.token, heartbeat=self._heartbeat)
            try:
                held.acquire()
            except BlockingIOError:
                raise _owned(self._run, read_owner(self._storage, self._run)) from None
            self._lock = held
            return
        self._lock = _locked(self._storage, self._run)
        try:
            self._outwait_other_host()
            self._beat()
        except BaseException:
            self._lock.release()
            self._lock = None
            raise
        self._thread = threading.Thread(target=self._keep_beating, name=f"heartbeat of {self._run}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that this is still the owner; called before every commit.

        Raises:
            LedgerError: If the lease was never taken, was released, or belongs to another driver now.
        """
        if self._lock is None:
            raise LedgerError(f"run {self._run}: not open for writing")
        owner = read_owner(self._storage, self._run)
        if owner is None or owner.get("token") != self.token:
            who = "nobody" if owner is None else describe(owner)
            raise LedgerError(
                f"run {self._run}: this driver has lost its lease (the owner is now {who}); nothing more is written. "
                "Start the same command again once no other driver works on this run"
            )

    def release(self) -> None:
        """Give the run free; a second call does nothing."""
        if self._lock is None:
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            owner = read_owner(self._storage, self._run)
            if owner is not None and owner.get("token") == self.token:
                self._storage.delete_tree(self._key)
        self._lock.release()
        self._lock = None

    def _beat(self) -> None:
        self._storage.write_bytes(self._key, claim.signature(self.token, self._started))

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._heartbeat):
            try:
                self.check()
                self._beat()
            except LedgerError:
                # The next commit says so; beating on would take the run back from its new owner.
                return
            except (WeaksegError, OSError) as error:
                _log.warning("heartbeat of run %s failed: %s", self._run, error)

    def _outwait_other_host(self) -> None:
        """Watch the heartbeat of an owner on another host: comparing clocks of two hosts would prove nothing."""
        before = read_owner(self._storage, self._run)
        if before is None or before.get("host") == socket.gethostname():
            return
        deadline = time.monotonic() + 2 * self._heartbeat + 1
        while time.monotonic() < deadline:
            time.sleep(self._heartbeat / 10)
            now = read_owner(self._storage, self._run)
            if now is None:
                return
            if now != before:
                raise _owned(self._run, now)


def refuse_owned(storage: Storage, run: str) -> None:
    """Refuse a run that another driver (in a folder: on this machine) owns, before anything is waited for or spent.

    Raises:
        LedgerError: As :meth:`Lease.acquire`, which is what decides.
        ResourceError: If the storage does not answer.
    """
    storage.reach()
    if storage.is_local:
        if read_owner(storage, run) is not None:
            _locked(storage, run).release()
    elif alive(read_owner(storage, run)):
        # The clocks of two hosts prove nothing, but tell whether it is worth looking for two heartbeats.
        moved = claim.watch(storage, owner_key(run), seconds=2 * HEARTBEAT_SECONDS + 1)
        if moved is not None and (owner := claim.read(moved[0])) is not None:
            raise _owned(run, owner)


def _locked(storage: Storage, run: str) -> Held:
    try:
        return storage.lock(f"{run_key(run)}/owner.lock")
    except BlockingIOError:
        raise _owned(run, read_owner(storage, run)) from None


def owner_key(run: str) -> str:
    """The file that names a run's owner."""
    return f"{run_key(run)}/owner.json"


def read_owner(storage: Storage, run: str) -> dict[str, Any] | None:
    """Who owns a run: token, host, pid, started, heartbeat; None if nobody does. A dead owner may still be named."""
    try:
        return claim.read(storage.read_bytes(owner_key(run)))
    except FileNotFoundError:
        return None


def heartbeat_age(owner: Mapping[str, Any]) -> float:
    """Seconds since an owner's last sign of life; infinite if it left none."""
    try:
        then = datetime.datetime.fromisoformat(str(owner["heartbeat"]))
        return max(0.0, (datetime.datetime.now(datetime.UTC) - then).total_seconds())
    except (KeyError, ValueError, TypeError):
        return float("inf")


def alive(owner: Mapping[str, Any] | None) -> bool:
    """Whether an owner has shown life lately."""
    return owner is not None and heartbeat_age(owner) < FRESH_SECONDS


def describe(owner: Mapping[str, Any]) -> str:
    """An owner as people read it: host, process, since when, last sign of life."""
    age = heartbeat_age(owner)
    sign = "no heartbeat" if age == float("inf") else f"last heartbeat {age:.0f} s ago"
    return (
        f"process {owner.get('pid', '?')} on host {owner.get('host', '?')} since {owner.get('started', '?')} ({sign})"
    )


def _owned(run: str, owner: Mapping[str, Any] | None) -> LedgerError:
    who = "another driver that has just started" if owner is None else describe(owner)
    return LedgerError(
        f"run {run} is owned by {who}. Wait until it ends or stop it, or choose another name with --set run=NAME"
    )
