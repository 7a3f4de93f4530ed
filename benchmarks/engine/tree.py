"""CPU seconds and memory of everything a process has started, whoever has adopted it since.

Ray's daemons leave the process tree of the driver that started them. So a tree is marked by an environment variable,
which every process inherits, and found by it.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

MARK = "WEAKSEG_BENCH_ID"


@dataclass
class _Seen:
    """One process as last read, in CPU seconds."""

    parent: tuple[int, float] | None
    own: float = 0.0
    reaped: float = 0.0
    alive: bool = True


class Accounts:
    """Adds up the CPU seconds of processes that come and go, none twice.

    A process that is gone counts as it was last read. What it used after that, and what children too short-lived to
    be read at all used, stands in its parent's account of reaped children: the part of that account which exceeds what
    was read of the children that are gone. A parent that ignores its children has an empty account, and then nothing
    is added.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], _Seen] = {}

    def update(self, key: tuple[int, float], parent: tuple[int, float] | None, own: float, reaped: float) -> None:
        """Enter one reading of a process.

        Args:
            key: Its id and the time it was made: ids are used again.
            parent: The same of its parent, None where that is outside the tree.
            own: CPU seconds of the process itself.
            reaped: CPU seconds of its children that are gone and that it has waited for, with theirs.
        """
        seen = self._seen.setdefault(key, _Seen(parent))
        seen.own, seen.reaped = max(seen.own, own), max(seen.reaped, reaped)

    def gone(self, key: tuple[int, float]) -> None:
        """Enter that a process does not exist any more; one that was never read counts where its parent reaped it."""
        if key in self._seen:
            self._seen[key].alive = False

    def total(self) -> float:
        """CPU seconds of the tree since it began."""
        explained: dict[tuple[int, float], float] = {}
        for seen in self._seen.values():
            if not seen.alive and seen.parent is not None:
                explained[seen.parent] = explained.get(seen.parent, 0.0) + seen.own + seen.reaped
        return sum(seen.own + max(0.0, seen.reaped - explained.get(key, 0.0)) for key, seen in self._seen.items())


class Tree:
    """Watches a marked process tree from outside, in a thread of its own.

    Args:
        root: The process that began it.
        mark: The value of the environment variable :data:`MARK` in all its processes.
        interval: Seconds between readings.
    """

    def __init__(self, root: int, mark: str, *, interval: float = 0.1) -> None:
        self._mark, self._interval = mark, interval
        self._accounts = Accounts()
        # The root is given: seen between its fork and its exec it would not bear the mark yet.
        self._members = {root: psutil.Process(root)}
        self._strangers: set[int] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def cpu(self) -> float:
        """CPU seconds of the tree up to now."""
        with self._lock:
            self._read()
            return self._accounts.total()

    def memory(self) -> int:
        """Sum of the proportional set sizes (PSS) of the processes alive, in bytes: shared pages count once."""
        total = 0
        for process in self.members():
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue  # it ended meanwhile
        return total

    def members(self) -> list[psutil.Process]:
        """The processes alive."""
        with self._lock:
            self._read()
            return list(self._members.values())

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            with self._lock:
                self._read()

    def _read(self) -> None:
        for process in self._found():
            key = (process.pid, process.create_time())
            try:
                with process.oneshot():
                    times, parent = process.cpu_times(), self._members.get(process.ppid())
            except psutil.NoSuchProcess:
                del self._members[process.pid]
                self._accounts.gone(key)
                continue
            self._accounts.update(
                key,
                None if parent is None else (parent.pid, parent.create_time()),
                times.user + times.system,
                times.children_user + times.children_system,
            )

    def _found(self) -> Iterator[psutil.Process]:
        """All members, parents first: a parent read before its child has not yet reaped what is read of the child."""
        pids = set(psutil.pids())
        self._strangers &= pids
        for pid in pids - self._members.keys() - self._strangers:
            try:
                process = psutil.Process(pid)
                if process.environ().get(MARK) == self._mark or process.ppid() in self._members:
                    self._members[pid] = process
                else:
                    self._strangers.add(pid)
            except (psutil.Error, OSError):
                continue  # ended, or another user's
        return iter(sorted(self._members.values(), key=lambda process: (process.create_time(), process.pid)))
