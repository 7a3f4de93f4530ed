"""What a sweep's trial costs beyond its own training: the same runs inside a sweep and one after the other.

Both sides do the same `train` runs on one pool and register nothing. The difference of the slopes is what Ray Tune,
the trial's process, the relay to MLflow and the record add to a trial; that of the intercepts is what a sweep costs
whatever its size.
"""

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.engine import ours
from benchmarks.engine.harness import Side, compare, summary

SETTINGS = {
    "data.images": 40,
    "training.epochs": 8,
    "labelling.rounds": 1,
    "cluster.workers": 1,
    "cluster.actors": 1,
    "cluster.gpu": "false",
}
MOST_PAIRS = 3
"""A trial takes half a minute and more, and what is looked for are seconds."""


def run(
    *, pairs: int, sizes: tuple[int, int] = (1, 3), settings: dict[str, Any] | None = None,
    progress: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Measure sweeps of few and of more trials, and the same runs alone.

    Args:
        pairs: How often each side runs at both sizes, at most three times.
        sizes: Trials.
        settings: Further `section.field` of the trials.
        progress: Called with one line after every pair.

    Returns:
        The comparison (1 = a trial costs what its run does), and `overhead`: seconds per trial and per sweep.
    """
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        options = {"folder": folder, "settings": {**SETTINGS, **(settings or {})}}
        sides = {name: Side(f"{__name__}:{name}", options) for name in ("alone", "swept")}
        costs = compare(sides, sizes=sizes, pairs=min(pairs, MOST_PAIRS), progress=progress)
    found = summary(costs, baseline="alone", ours="swept")
    overhead = {
        what: {unit: found["swept"][what][unit] - found["alone"][what][unit] for unit in ("per_unit", "per_run")}
        for what in ("cpu", "wall")
    }
    return {**found, "overhead": overhead}


def _plan(folder: str, settings: dict[str, Any], count: int) -> Any:
    """A sweep of so many seeds at one point, named anew: a name that was used would only be read."""
    from pipelines.config import load

    fixed = {
        "run": f"b{uuid.uuid4().hex[:8]}",
        "storage.root": folder,
        "tracking.uri": f"sqlite:///{folder}/mlflow.db",
        "sweep.verb": "train",
        "sweep.fields": "{loss.point: [1.0]}",
        "sweep.seeds": list(range(count)),
        "sweep.max_concurrent": 1,
    }
    return load("demo", [f"{name}={value}" for name, value in {**settings, **fixed}.items()], verb="sweep")


@contextmanager
def swept(folder: str, settings: dict[str, Any]) -> Iterator[Callable[[int], None]]:
    """A sweep, one trial at a time."""
    with ours.ray_started():
        from pipelines.sweep.driver import sweep

        def work(size: int) -> None:
            found = sweep(_plan(folder, settings, size), ours.console(), source="demo")
            assert found["trials"]["finished"] == size

        yield work


@contextmanager
def alone(folder: str, settings: dict[str, Any]) -> Iterator[Callable[[int], None]]:
    """The same runs in one process."""
    with ours.ray_started():
        from pipelines import active, prepare
        from pipelines.storage import open_storage
        from pipelines.sweep.plan import listed_points, trial_config, trials
        from pipelines.tracking import open_tracker

        def work(size: int) -> None:
            config = _plan(folder, settings, size)
            storage = open_storage(Path(folder))
            prepare.run(config, storage)
            tracker = open_tracker(config, storage)
            parent = tracker.run(config.run, name=config.run)
            for trial in trials(config, listed_points(config) or []):
                told = active.Trial(tracker, parent)
                active.run_training(trial_config(config, trial, storage), ours.console(), trial=told)
            tracker.finish(parent)

        yield work
