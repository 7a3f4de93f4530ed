"""A batch of trials side by side: those without a record are run, and what each comes to is written down."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pipelines.config.space import Point, words
from pipelines.console import duration
from pipelines.credentials import hidden
from pipelines.summary import percent
from pipelines.sweep.plan import Trial, trial_config, trials
from pipelines.sweep.relay import Relay
from pipelines.sweep.results import NAMES, rows
from pipelines.sweep.state import TUNE, Sweep
from pipelines.sweep.trial import Task
from pipelines.sweep.tuning import ATTEMPTS, run_trials
from pipelines.tracking import try_to_end
from weakseg.errors import ConfigError


def trial_finished(count: int) -> None:
    """Called after every trial's record is written; tests replace it to stop a driver exactly there."""


def score_of(state: Sweep) -> Callable[[Point], float | None]:
    """What Optuna is told of a point: the mean over its seeds."""

    def score(point: Point) -> float | None:
        (row,) = rows(trials(state.config, [point]), state.records)
        stopped = [
            state.records[trial.name]["score"]
            for trial in trials(state.config, [point])
            if state.records.get(trial.name, {}).get("stopped")
        ]
        known = [value for value in stopped if value is not None]
        return row["score"] if row["score"] is not None else sum(known) / len(known) if known else None

    return score


def run_batch(state: Sweep, relay: Relay, found: Sequence[Trial], count: int) -> None:
    """Run those trials that have no record."""
    config, ledger, console = state.config, state.ledger, state.console
    assert config.sweep is not None
    metric = config.sweep.metric
    left = {trial.name: trial for trial in found if trial.name not in state.records}
    tasks = {}

    def told(name: str, what: str) -> None:
        trial = left[name]
        number = len(state.records) + len(state.failures)
        console.line(f"trial {number} of {count}: {words(trial.point)}, seed {trial.seed}: {what}")

    def on_finished(name: str, outcome: dict[str, Any]) -> None:
        trial = left[name]
        record = {
            "trial": name,
            "point": trial.point,
            "seed": trial.seed,
            "mlflow": relay.opened.get(name),
            **outcome,
        }
        ledger.write_json(f"trials/{name}.json", record)
        state.records[name] = record
        if outcome.get("stopped"):
            _end(state, relay.opened.get(name), "KILLED")
            told(name, "stopped, as it was behind others")  # without its score: that of a training is its loss
        elif outcome.get("invalid"):
            told(name, f"cannot be run: {outcome['error']}")
        elif outcome.get("diverged"):
            told(name, outcome["error"])
        else:
            told(name, f"{NAMES[metric]} {percent(outcome['score'])} ({duration(outcome['took'])})")
        trial_finished(len(state.records))

    def on_failed(name: str, error: str) -> None:
        error = hidden(error)
        ledger.write_bytes(f"failures/{name}.txt", error.encode())
        _end(state, relay.opened.get(name), "FAILED")
        state.failures[name] = error.splitlines()[-1]
        told(name, f"failed {ATTEMPTS} times, at last with {state.failures[name]}")

    for name, trial in left.items():
        try:
            plan = trial_config(config, trial, ledger.storage)
            fault = state.fault(plan)
        except ConfigError as error:
            fault = error.faults[0]
        if fault is None:
            tasks[name] = Task(plan, config.sweep.verb, metric, relay.mailbox, state.run_id, console.verbose)
        else:
            on_finished(name, {"score": None, "invalid": True, "error": fault})
    run_trials(
        tasks,
        at_once=state.at_once,
        behind=None if state.rungs is None else state.rungs.behind,
        storage=ledger.storage,
        key=ledger.key(TUNE),
        finished=on_finished,
        failed=on_failed,
        verbose=console.verbose,
        carry=state.carry,
    )


def _end(state: Sweep, run_id: str | None, status: Literal["FAILED", "KILLED"]) -> None:
    """End the MLflow run of a trial that could not do so itself, where it had one."""
    if run_id is not None:
        try_to_end(state.tracker, run_id, status, state.console)
