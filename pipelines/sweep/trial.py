"""A trial in its own process: a whole `active` or `train` run, by the code of the command line."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ray.actor import ActorHandle

from pipelines.config import Config
from pipelines.console import Console, quiet_engines
from pipelines.ledger import refuse_owned
from pipelines.storage import Storage, open_storage
from weakseg.errors import LedgerError

Report = Callable[[dict[str, Any]], None]

WAIT_SECONDS = 90.0
"""For a run whose owner was killed a moment ago."""


@dataclass(frozen=True)
class Task:
    """What the process of a trial is given.

    Attributes:
        config: The run's configuration.
        verb: Which run.
        metric: What is reported as `score`.
        mailbox: The way to the sweep's tracker.
        parent_run_id: The sweep's MLflow run.
        verbose: Whether the engines' messages are shown.
    """

    config: Config
    verb: Literal["active", "train"]
    metric: Literal["miou", "boundary_f1"]
    mailbox: ActorHandle
    parent_run_id: str
    verbose: bool


def run(task: Task, report: Report) -> dict[str, Any]:
    """Carry out a trial, or what is left of it.

    Args:
        task: What to do.
        report: Called after every round (active) or epoch (train) that has a score: `step` is its number from 1,
            `score` higher where it is better, `last` whether the run ends with it.

    Returns:
        The outcome, see :func:`outcome`.
    """
    quiet_engines(task.verbose)
    from torch import nn

    from pipelines import active
    from pipelines.sweep.relay import RelayedTracker
    from weakseg.training.early_stopping import EarlyStopping

    started = time.monotonic()
    outwait(open_storage(task.config.storage.root), task.config.run)
    training, told = task.config.training, 0
    stopping = None
    if task.verb == "train" and training.early_stopping is not None:
        stopping = EarlyStopping(training.early_stopping.patience)

    def on_round(metrics: dict[str, Any], last: bool) -> None:
        found = score(metrics["validation"], task.metric) if metrics["validation"] else None
        if found is not None:
            report({"step": metrics["round"] + 1, "score": found, "last": last})

    def on_epochs(rows: Sequence[Mapping[str, Any]]) -> None:
        nonlocal told
        for epoch, row in enumerate(rows[told:], start=told + 1):
            if stopping is not None:
                loss = math.nan if row["val_loss"] is None else float(row["val_loss"])
                stopping.update(epoch, loss, nn.Identity())
                last = epoch == training.epochs or stopping.over(epoch)
                report({"step": epoch, "score": -loss, "last": last})
        told = max(told, len(rows))

    trial = active.Trial(RelayedTracker(task.mailbox), task.parent_run_id, on_round, on_epochs)
    verb = active.active if task.verb == "active" else active.run_training
    result = verb(task.config, Console(verbose=task.verbose), trial=trial)
    return outcome(result["rounds"], task.metric, took=time.monotonic() - started)


def outcome(rounds: Sequence[Mapping[str, Any]], metric: str, *, took: float) -> dict[str, Any]:
    """What a run comes to: of its last round, score, both measures, cost and labels.

    Args:
        rounds: The metrics of its rounds, at least one.
        metric: What `score` is.
        took: Seconds, of what was left to do.
    """
    last = rounds[-1]
    scores = last["validation"] or {"miou": None, "boundary": {"f1": None}}
    return {
        "score": score(scores, metric),
        "miou": scores["miou"],
        "boundary_f1": scores["boundary"]["f1"],
        "seconds": last["seconds"],
        "labels": last["labels"],
        "rounds": len(rounds),
        "took": round(took, 1),
    }


def score(validation: Mapping[str, Any], metric: str) -> float | None:
    """The compared measure of a round."""
    return validation["miou"] if metric == "miou" else validation["boundary"]["f1"]


def outwait(storage: Storage, run: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until nobody owns a run: the trial of a sweep that was killed goes a moment after its driver.

    Args:
        storage: Where the run lies.
        run: Its name.
        seconds: How long at most.

    Raises:
        LedgerError: It is still owned then; the text says by whom.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return refuse_owned(storage, run)
        except LedgerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
