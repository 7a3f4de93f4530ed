"""The driver of the rounds: which stage is next, over the ledger.

Every step looks for its finished artefact first, so the same command after a crash goes on at the first unfinished
step, and a run that is given more rounds just goes on. The driver alone writes to MLflow.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from pipelines import (
    annotate,
    evaluate,
    prepare,
    register,
    report,
    resources,
    score,
    select,
    supervise,
    train,
)
from pipelines.annotation import serve
from pipelines.annotation.desk import Desk
from pipelines.config import Config, identity
from pipelines.config.terms import more_than_paid
from pipelines.console import Console
from pipelines.ledger import Ledger, refuse_owned
from pipelines.ledger.layout import round_folder, run_key
from pipelines.measure import measure, values
from pipelines.rounds import choose_round, count_finished, finished_rounds, refuse_sweep, write_chosen
from pipelines.stopping import check_budget, stop_reason
from pipelines.storage import open_storage
from pipelines.summary import SCORE_COLUMNS, columns, means, row, score_rows, sentence
from pipelines.tracking import Tracker, ended, open_tracker
from pipelines.versions import versions
from weakseg.errors import LedgerError, WeaksegError


@dataclass(frozen=True)
class Trial:
    """What a run is told that is a trial of a sweep: it is tracked below the sweep and registers nothing.

    Attributes:
        tracker: The sweep's; a trial opens none of its own.
        parent_run_id: The sweep's MLflow run.
        on_round: Called with the metrics of every round of `active`, one that was finished before too, and whether it
            is the last.
        on_epochs: Called with the metrics of all epochs of a training so far.
    """

    tracker: Tracker
    parent_run_id: str
    on_round: Callable[[dict[str, Any], bool], None] = lambda metrics, last: None
    on_epochs: Callable[[list[dict[str, Any]]], None] = lambda epochs: None


@dataclass(frozen=True)
class Driver:
    """What every step of a run shares."""

    config: Config
    ledger: Ledger
    tracker: Tracker
    parent_run_id: str
    console: Console
    trial: Trial | None = None
    desk: Desk | None = None


def active(config: Config, console: Console, *, trial: Trial | None = None) -> dict[str, Any]:
    """Learn in rounds from queried pixels until rounds, budget or gain are used up; then register and report.

    Args:
        config: The run's configuration.
        console: Where progress and the final table go.
        trial: What a sweep says to a trial of its own.

    Returns:
        The rounds' metrics, the test scores, the registered version (of a trial None) and where the report is.
    """
    with _driver(config, console, trial) as driver:
        rounds: list[dict[str, Any]] = []
        there, reason = len(finished_rounds(driver.ledger)), None
        while reason is None:
            rounds.append(_round(driver, len(rounds)))
            if len(rounds) >= there:  # rules that have become stricter since take no round back
                reason = stop_reason(config, rounds, images=len(driver.ledger.pool.index("train")))
            if trial is not None:
                trial.on_round(rounds[-1], reason is not None)
        return _finish(driver, rounds, reason)


def run_training(config: Config, console: Console, *, trial: Trial | None = None) -> dict[str, Any]:
    """Train once, from the configured supervision, then register and report: the verb `train`.

    With points that is round 0 of `active`; with masks alone it is the fully supervised baseline. A `trial` is what a
    sweep says to a trial of its own.

    Raises:
        LedgerError: The run has a second round.
    """
    storage = open_storage(config.storage.root)
    refuse_owned(storage, config.run)
    if storage.list(f"{run_key(config.run)}/{round_folder(1)}"):
        raise LedgerError(
            f"run {config.run} has learned in rounds (`weakseg active`), of which train would test and register the "
            "first; go on with `weakseg active`, or choose another name with --set run=NAME"
        )
    with _driver(config, console, trial, adds_rounds=False) as driver:
        return _finish(driver, [_round(driver, 0)], "one training was asked for")


def evaluate_run(config: Config, console: Console) -> dict[str, Any]:
    """Score the last finished round on validation and test again, from its stored model: the verb `evaluate`.

    Nothing is tracked: the run keeps the state in MLflow that its driver left it in.

    Raises:
        LedgerError: There is no such run, or it is a sweep.
        WeaksegError: The run has no finished round yet.
    """
    storage = open_storage(config.storage.root)
    refuse_owned(storage, config.run)
    there = Ledger.read(storage, config.run)  # before anything is made
    refuse_sweep(there)
    last = count_finished(there) - 1
    if last < 0:
        raise WeaksegError(f"run {config.run}: no finished round to evaluate; start it with `weakseg active`")
    with _opened(config, console, trains=False, adds_rounds=False) as ledger:
        scores: dict[str, Any] = {}
        for split in ("val", "test"):
            if evaluate.masks(ledger, split):
                # fitted on validation, never on test
                temperature = scores["val"]["calibration"]["temperature"] if "val" in scores else 1.0
                given = None if split == "val" else temperature
                scores[split] = evaluate.run(config, ledger, last, split, console=console, temperature=given)
        console.table(f"{ledger.run}, round {last}", SCORE_COLUMNS, score_rows(scores))
        return {"run": ledger.run, "round": last, **scores}


@contextmanager
def _opened(
    config: Config, console: Console, trial: Trial | None = None, *, trains: bool = True, adds_rounds: bool = True
) -> Iterator[Ledger]:
    """The run, held by this process, with its pool and supervision; what cannot go on is refused before."""
    storage = open_storage(config.storage.root)
    refuse_owned(storage, config.run)
    console.run = config.run
    if trial is None:  # a sweep has done so before, for all its trials together
        resources.connect(config, verbose=console.verbose)
        resources.check(config, storage, trains=trains)
        if warning := resources.misplaced():
            console.line(warning)
        if trains and (note := more_than_paid(config)):
            console.line(f"note: {note}")
    register.check(config)
    prepared = prepare.run(config, storage, console=console, check=lambda classes: train.check(config, classes))
    settings = identity(config, prepared.digest)
    plain = config.model_dump(mode="json")
    with Ledger.open(storage, config.run, settings, plain, versions(), adds_rounds=adds_rounds) as ledger:
        supervise.run(config, ledger)
        if adds_rounds and not ledger.exists(f"{ledger.round(0)}/queries.parquet"):
            check_budget(config, images=len(ledger.pool.index("train")))
        yield ledger


@contextmanager
def _driver(
    config: Config, console: Console, trial: Trial | None = None, *, adds_rounds: bool = True
) -> Iterator[Driver]:
    """The run with all that its steps share; its run in MLflow ends as the block does."""
    with _opened(config, console, trial, adds_rounds=adds_rounds) as ledger:
        tracker = open_tracker(config, ledger.storage) if trial is None else trial.tracker
        parent = tracker.run(
            ledger.id,
            name=ledger.run,
            parent_run_id=None if trial is None else trial.parent_run_id,
            tags={"pool_digest": ledger.pool.digest, "config_digest": ledger.config_digest},
            params=config.model_dump(mode="json"),
        )
        tracker.log_pool(parent, ledger.pool)
        with ended(tracker, parent, ledger, console):
            asks = config.labelling.annotator == "browser"
            with serve.asking(config, ledger, console) if asks else nullcontext() as desk:
                yield Driver(config, ledger, tracker, parent, console, trial, desk)


def step_finished(step: str, round: int) -> None:
    """Called after every step has written its artefact; tests replace it to stop a driver exactly there."""


def _round(driver: Driver, round: int) -> dict[str, Any]:
    """The metrics of a round that is carried out here; what is finished is only read."""
    config, ledger, console = driver.config, driver.ledger, driver.console
    folder = ledger.round(round)
    if ledger.exists(f"{folder}/_SUCCESS"):
        console.line(f"round {round}: done before")
        return ledger.read_json(f"{folder}/metrics.json")
    started = time.monotonic()
    run_id = driver.tracker.run(
        f"{ledger.id}/{round}",
        name=f"{ledger.run}/{round}",
        parent_run_id=driver.parent_run_id,
        params={"round": round},
    )
    if config.supervision.points:
        if select.needs_scores(config, round):
            score.run(config, ledger, round - 1, console=console)
            step_finished("score", round)
        select.run(config, ledger, round, console=console)
        step_finished("select", round)
    if config.supervision.points or driver.desk is not None:
        annotate.run(config, ledger, round, desk=driver.desk, console=console)
        step_finished("annotate", round)

    def on_epochs(rows: list[dict[str, Any]]) -> None:
        driver.tracker.log_epochs(run_id, rows)
        if driver.trial is not None:
            driver.trial.on_epochs(rows)

    history = train.run(config, ledger, round, console=console, on_epochs=on_epochs)
    step_finished("train", round)
    metrics = measure(config, ledger, round, history, console=console)
    step_finished("evaluate", round)
    _track_round(driver, run_id, round, history, metrics)
    ledger.write_json(f"{folder}/_SUCCESS", {})
    step_finished("round", round)
    console.line(sentence(metrics, took=time.monotonic() - started))
    return metrics


def _track_round(
    driver: Driver, run_id: str, round: int, history: Sequence[dict[str, Any]], metrics: dict[str, Any]
) -> None:
    tracker = driver.tracker
    tracker.log_epochs(run_id, history)
    found = values(metrics, driver.ledger.pool.classes.names)
    tracker.log_metrics(run_id, found, step=round)
    tracker.log_metrics(driver.parent_run_id, found, step=round)
    tracker.finish(run_id, "FINISHED")


def _finish(driver: Driver, rounds: Sequence[dict[str, Any]], reason: str) -> dict[str, Any]:
    """Test once, register, report; then the table."""
    config, ledger, console = driver.config, driver.ledger, driver.console
    chosen = choose_round(rounds, config.register.round)
    write_chosen(ledger, chosen)
    test = _test(driver, chosen)
    step_finished("test", chosen)
    version = None
    if driver.trial is None:  # a registry full of trials would help nobody: the best one's recipe registers it
        version = register.run(config, ledger, driver.tracker, chosen, rounds, run_id=driver.parent_run_id)
    step_finished("register", chosen)
    path = report.run(config, ledger, tracker=driver.tracker, run_id=driver.parent_run_id)
    step_finished("report", chosen)
    console.table(f"{ledger.run}: {reason}", columns(rounds), [row(metrics, chosen=chosen) for metrics in rounds])
    quarantined = ledger.pool.manifest["quarantined"]
    if quarantined:
        console.line(f"quarantined images: {quarantined} (listed in the report)")
    if test:
        console.line(f"* round {chosen} on test: {means(test)}")
    if version:
        console.line(f"model: models:/{version['name']}@{version['alias']} (version {version['version']})")
    console.line(f"report: {path}")
    return {"run": ledger.run, "reason": reason, "rounds": list(rounds), "test": test, "model": version, "report": path}


def _test(driver: Driver, round: int) -> dict[str, Any] | None:
    """The chosen round on the test split, once: only a run that was given more rounds may choose another."""
    ledger = driver.ledger
    if not driver.config.evaluate.test or not evaluate.masks(ledger, "test"):
        return None
    test: dict[str, Any] | None = ledger.read_json("test.json") if ledger.exists("test.json") else None
    if test is None or test["round"] != round:
        validation = ledger.read_json(f"{ledger.round(round)}/metrics.json")["validation"]
        temperature = validation["calibration"]["temperature"] if validation else 1.0
        scores = evaluate.run(driver.config, ledger, round, "test", console=driver.console, temperature=temperature)
        test = {"round": round, **scores}
        ledger.write_json("test.json", test)
    # Every time: who wrote the file may have died before this; what is logged already is left out.
    driver.tracker.log_metrics(
        driver.parent_run_id, {"test_miou": test["miou"], "test_boundary_f1": test["boundary"]["f1"]}, step=round
    )
    return test
