"""Two or more ways to do the same work, in turn, each in its own process tree, at two sizes.

Every side lives in one process tree for the whole comparison, so that its start-up is paid once and reported apart.
A pair runs every side at the small and at the large size; sides take turns (A B, B A, A B, ...), so that a machine that
grows slower favours none. What counts is the slope, (cost of large - cost of small) / (large - small): what every run
costs whatever its size falls out of it and is reported as the intercept.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.tree import MARK, Tree

SETTLE_SECONDS = 0.5
"""After every run: daemons finish what the work has left them, and it is counted with it."""

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}


class BenchmarkError(Exception):
    """A side that failed, with the end of what it printed."""


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    Attributes:
        function: `module:function` of a context manager that gives the work, a function of the size.
        options: The function's keyword arguments, JSON-able.
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What one run cost."""

    size: int
    cpu: float
    wall: float
    result: Any = None


class Session:
    """A side at work in its own process tree; a context manager.

    Args:
        side: What it does.
        log: File that takes what it prints.
        settle: Seconds to wait after a run before its CPU seconds are read.
    """

    def __init__(self, side: Side, log: Path, *, settle: float = SETTLE_SECONDS) -> None:
        self._log, self._settle = log, settle
        mark = uuid.uuid4().hex
        started = time.monotonic()
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.engine.child", side.function, json.dumps(dict(side.options))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                bufsize=1,
                cwd=Path(__file__).parents[2],
                env={**os.environ, **ENVIRONMENT, MARK: mark},
                start_new_session=True,
            )
        self.tree = Tree(self._process.pid, mark)
        try:
            self._reply()
            self.start = Cost(0, self.tree.cpu(), time.monotonic() - started)
        except BaseException:
            self.close()
            raise

    def run(self, size: int) -> Cost:
        """Do the work once.

        Args:
            size: How much of it.

        Returns:
            CPU seconds of the whole tree, seconds by the clock, and what the work returned.

        Raises:
            BenchmarkError: The side ended instead.
        """
        cpu, wall = self.tree.cpu(), time.monotonic()
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{size}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing reply tells it
        result = self._reply()
        wall = time.monotonic() - wall
        time.sleep(self._settle)
        return Cost(size, self.tree.cpu() - cpu, wall, result)

    def close(self) -> None:
        """End the side and all it started."""
        try:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(timeout=30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.tree.close()
        for process in self.tree.members():
            process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self.close()

    def _reply(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(
                "a side failed:\n" + "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])
            )
        return json.loads(line)


def compare(
    sides: Mapping[str, Side],
    *,
    sizes: tuple[int, int],
    pairs: int,
    progress: Callable[[str], None] = lambda line: None,
    settle: float = SETTLE_SECONDS,
) -> dict[str, list[Cost]]:
    """Run all sides in turn.

    Args:
        sides: By name.
        sizes: The small and the large size.
        pairs: How often each side runs at both sizes, after one run at the small size that warms it up.
        progress: Called with one line after every pair.
        settle: Seconds to wait after every run.

    Returns:
        The costs by side: first its start, then small and large of every pair.
    """
    if pairs < 1 or not 0 < sizes[0] < sizes[1]:
        raise ValueError(f"expected at least one pair and 0 < small < large, got {pairs} and {sizes}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weakseg-bench-")))
        sessions: dict[str, Session] = {}
        for number, (name, side) in enumerate(sides.items()):
            sessions[name] = stack.enter_context(Session(side, folder / f"{number}.log", settle=settle))
        costs = {name: [session.start] for name, session in sessions.items()}
        for session in sessions.values():
            session.run(sizes[0])
        for pair in range(pairs):
            for name in turns(list(sides), pair):
                costs[name] += [sessions[name].run(size) for size in sizes]
            walls = ", ".join(f"{name} {costs[name][-1].wall:.1f} s" for name in sides)
            progress(f"pair {pair + 1} of {pairs}: {walls} at size {sizes[1]}")
    return costs


def turns(names: Sequence[str], pair: int) -> list[str]:
    """The order of the sides in a pair: forwards, then backwards (A B, B A, ...)."""
    return list(names) if pair % 2 == 0 else list(names)[::-1]


@dataclass(frozen=True)
class Line:
    """Cost against size, one per pair.

    Attributes:
        slopes: (pairs,) cost per unit of size.
        intercepts: (pairs,) what a run costs at size 0.
    """

    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]


def line(costs: Sequence[Cost], what: str) -> Line:
    """Slopes and intercepts of one side.

    Args:
        costs: Its start, then small and large of every pair.
        what: `cpu` or `wall`.
    """
    small, large = costs[1::2], costs[2::2]
    size_N = np.array([[cost.size for cost in small], [cost.size for cost in large]], np.float64)
    cost_N = np.array([[getattr(cost, what) for cost in small], [getattr(cost, what) for cost in large]], np.float64)
    slopes = (cost_N[1] - cost_N[0]) / (size_N[1] - size_N[0])
    return Line(slopes, cost_N[0] - slopes * size_N[0])


@dataclass(frozen=True)
class Ratio:
    """A ratio of two sides' slopes with its bootstrap interval."""

    value: float
    low: float
    high: float


def ratio(over: NDArray[np.float64], under: NDArray[np.float64], *, draws: int = 10_000, level: float = 0.95) -> Ratio:
    """The ratio of two sums over pairs, and a percentile interval from drawing pairs with replacement.

    Args:
        over: (pairs,) slopes above the line.
        under: (pairs,) slopes below it, of the same pairs.
        draws: Bootstrap draws.
        level: Of the interval.
    """
    if over.shape != under.shape or over.ndim != 1 or not over.size:
        raise ValueError(f"expected two arrays of as many pairs, got {over.shape} and {under.shape}")
    picks = np.random.default_rng(0).integers(0, over.size, (draws, over.size))
    drawn = over[picks].sum(1) / under[picks].sum(1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Ratio(float(over.sum() / under.sum()), float(low), float(high))


def summary(costs: Mapping[str, Sequence[Cost]], *, baseline: str, ours: str) -> dict[str, Any]:
    """What a comparison found.

    Args:
        costs: What :func:`compare` returned.
        baseline: The side that ours is measured against.
        ours: Our side.

    Returns:
        `cpu` and `wall`: baseline / ours with its interval, so 1 = no overhead and above 1 = cheaper; per side the
        slope (cost per unit), the intercept of a run, and the start of its processes.
    """
    result: dict[str, Any] = {"pairs": (len(costs[ours]) - 1) // 2, "sizes": [cost.size for cost in costs[ours][1:3]]}
    for what in ("cpu", "wall"):
        found = ratio(line(costs[baseline], what).slopes, line(costs[ours], what).slopes)
        result[what] = {"ratio": found.value, "low": found.low, "high": found.high}
    for name in (baseline, ours):
        result[name] = {
            what: {
                "per_unit": float(line(costs[name], what).slopes.mean()),
                "per_run": float(line(costs[name], what).intercepts.mean()),
                "start": float(getattr(costs[name][0], what)),
            }
            for what in ("cpu", "wall")
        }
    return result
