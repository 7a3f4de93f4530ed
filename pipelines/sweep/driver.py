"""The verb `sweep`: which trials are left, over the sweep's ledger.

Only finished trials count as done; the others go on inside their own runs. The same command after a kill, or with more
`sweep.trials`, therefore does what is left.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from pipelines import prepare, resources
from pipelines.config import Config
from pipelines.config.space import Point, seeds, words
from pipelines.console import Console
from pipelines.ledger import Ledger, refuse_owned
from pipelines.pool import Pool
from pipelines.rounds import finished_trials
from pipelines.storage import Storage, open_storage
from pipelines.sweep import models, search
from pipelines.sweep.batch import run_batch, score_of
from pipelines.sweep.comparison import compared
from pipelines.sweep.plan import (
    Trial,
    chosen_config,
    listed_points,
    planned,
    pools,
    sweep_identity,
    trials,
)
from pipelines.sweep.relay import relayed
from pipelines.sweep.rungs import Rungs
from pipelines.sweep.state import Sweep
from pipelines.sweep.trial import run
from pipelines.sweep.tuning import Carry
from pipelines.tracking import ended, open_tracker
from pipelines.versions import versions
from weakseg.errors import DataError, ResourceError


def sweep(config: Config, console: Console, *, source: str, carry: Carry = run) -> dict[str, Any]:
    """Run all trials that are left, compare them, and write the best as a recipe.

    Args:
        config: The configuration with its section `sweep`, checked for this verb.
        console: Where progress and the table go.
        source: The `--config` it was read from, for the recipe.
        carry: What a trial does; tests put something cheap here.

    Returns:
        run, trials (planned, finished, stopped, diverged, invalid, failed, and done before), table, best (point, score,
        run, recipe), figures (their addresses).

    Raises:
        WeaksegError: What the user must put right.
        RuntimeError: No trial could be finished.
    """
    assert config.sweep is not None
    storage = open_storage(config.storage.root)
    refuse_owned(storage, config.run)
    console.run = config.run
    points = listed_points(config)
    examples = _examples(config, points)
    resources.connect(config, verbose=console.verbose)
    resources.check(config, storage)
    if warning := resources.misplaced():
        console.line(warning)
    at_once = concurrent(config)
    pool = _prepared(config, examples, storage, console)
    settings = sweep_identity(config, pool.digest)
    with Ledger.open(storage, config.run, settings, config.model_dump(mode="json"), versions()) as ledger:
        tracker = open_tracker(config, storage)
        run_id = tracker.run(
            ledger.id,
            name=ledger.run,
            tags={"pool_digest": pool.digest, "config_digest": ledger.config_digest, "weakseg.sweep": ledger.run},
            params=config.model_dump(mode="json"),
        )
        rungs = None if config.sweep.asha is None else Rungs(config.sweep.asha, ledger)
        state = Sweep(config, ledger, tracker, run_id, console, at_once, carry, rungs)
        if config.sweep.search != "grid":  # all of whose points have been checked
            state.fault = models.looked_at_once(len(pool.classes))
        with ended(tracker, run_id, ledger, console):
            return _carry_out(state, points, source)


def concurrent(config: Config) -> int:
    """How many trials run side by side: what the connected cluster can hold, or fewer as configured.

    Raises:
        ResourceError: More are asked for than fit.
    """
    assert config.sweep is not None
    room, wanted = resources.runs_at_once(config), config.sweep.max_concurrent
    if wanted is not None and wanted > room:
        raise ResourceError(
            f"sweep.max_concurrent: {wanted} trials do not fit at once: the cluster has room for {room}; "
            "lower it, or set it to null"
        )
    return max(1, wanted or room)


def _examples(config: Config, points: Sequence[Point] | None) -> list[tuple[str, Config]]:
    """Each point with its configuration, checked before anything starts; of Optuna, whose points come, the base."""
    if points is None:
        return [("", config)]
    first = seeds(config)[0]
    found = [trial for trial in trials(config, points) if trial.seed == first]
    return [(words(trial.point), chosen_config(config, trial)) for trial in found]


def _prepared(config: Config, examples: Sequence[tuple[str, Config]], storage: Storage, console: Console) -> Pool:
    """The pool that all trials share, with every table that one of them needs."""
    assert config.sweep is not None
    check = partial(models.check, examples, all_of_them=config.sweep.search == "grid")
    made = [
        prepare.run(example, storage, console=console, check=check)
        for example in pools(example for _, example in examples)
    ]
    if not made[0].masks.get("val"):
        raise DataError(
            "sweep: trials are compared on validation masks, and the data has none; give it some (see data.splits)"
        )
    return Pool(storage, made[0].digest)


def _carry_out(state: Sweep, points: Sequence[Point] | None, source: str) -> dict[str, Any]:
    config, ledger = state.config, state.ledger
    before = finished_trials(ledger)
    state.records = {name: ledger.read_json(f"trials/{name}.json") for name in before}
    count = planned(config, ledger)
    if before:
        state.console.line(f"{len(before)} of {count} trials were done before")
    state.console.line(f"{count} trials, {state.at_once} at a time")
    done: list[Trial] = []
    with relayed(state.tracker) as relay:
        for batch in _batches(state, points):
            found = [trial for trial in trials(config, batch) if trial not in done]
            run_batch(state, relay, found, count)
            done += found
    return compared(state, done, before, source)


def _batches(state: Sweep, points: Sequence[Point] | None) -> Iterator[list[Point]]:
    """All points at once where they are known; else as Optuna asks for them."""
    if points is not None:
        return iter([list(points)])
    size = max(1, -(-state.at_once // len(seeds(state.config))))
    return search.batches(state.config, state.ledger, size=size, score=score_of(state))
