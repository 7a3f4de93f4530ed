from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny

from pipelines import active
from pipelines.ledger import Lease
from pipelines.storage import open_storage
from pipelines.sweep.trial import Task, outcome, outwait, run
from weakseg.errors import LedgerError


def test_an_outcome_is_of_the_last_round():
    scores = {"miou": 0.4, "boundary": {"f1": 0.2}}
    rounds = [{"validation": {}, "seconds": 1.0, "labels": 5}, {"validation": scores, "seconds": 9.0, "labels": 10}]
    found = outcome(rounds, "boundary_f1", took=1.23)
    assert found == {
        "score": 0.2, "miou": 0.4, "boundary_f1": 0.2, "seconds": 9.0, "labels": 10, "rounds": 2, "took": 1.2,
    }  # fmt: skip
    assert outcome([{"validation": None, "seconds": 0.0, "labels": 0}], "miou", took=0.0)["score"] is None


def test_a_run_that_someone_else_works_on_is_refused_in_the_end(tmp_path: Path):
    storage = open_storage(tmp_path)
    outwait(storage, "free", seconds=0.0)
    lease = Lease(storage, "held")
    lease.acquire()
    try:
        with pytest.raises(LedgerError, match="run held is owned by process"):
            outwait(storage, "held", seconds=0.0)
    finally:
        lease.release()
    outwait(storage, "held", seconds=0.0)


def reports(config, verb: str, metric: str = "miou") -> list[dict[str, Any]]:
    """What the sweep hears of a trial, whose stages are those that a test has put there."""
    heard: list[dict[str, Any]] = []
    run(Task(config, verb, metric, None, "parent", False), heard.append)
    return heard


def test_every_round_is_reported_and_the_one_after_which_the_run_ends_as_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measured(driver, round: int) -> dict[str, Any]:
        validation = {"miou": 0.1 * round, "boundary": {"f1": 0.2}}
        return {"round": round, "validation": validation, "seconds": 1.0, "labels": 10 * (round + 1)}

    @contextmanager
    def opened(config, console, trial):
        pool = SimpleNamespace(index=lambda split: range(2))
        ledger = SimpleNamespace(pool=pool, exists=lambda key: False, round=str)
        yield active.Driver(config, ledger, None, "id", console, trial)

    monkeypatch.setattr(active, "_driver", opened)
    monkeypatch.setattr(active, "_round", measured)
    monkeypatch.setattr(active, "_finish", lambda driver, rounds, reason: {"rounds": rounds})
    told = [(report["step"], report["last"]) for report in reports(tiny.config(tmp_path), "active")]
    assert told == [(1, False), (2, True)]
    budget = tiny.config(tmp_path, labelling__rounds="9", stop__budget="30")
    assert [report["last"] for report in reports(budget, "active", "boundary_f1")] == [False, False, True]


@pytest.mark.parametrize(
    ("losses", "last"),
    [([3.0, 2.0, 1.0, 0.5], [4]), ([3.0, 1.0, 2.0, 2.0], [4]), ([1.0, 2.0, 2.0], [3])],
    ids=["all epochs", "early at the end", "early"],
)
def test_every_epoch_is_reported_and_the_one_after_which_the_training_ends_as_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], last: list[int]
):
    def trained(config, console, *, trial):
        rows = [{"epoch": float(number), "val_loss": loss} for number, loss in enumerate(losses, start=1)]
        for seen in range(1, len(rows) + 1):
            trial.on_epochs(rows[:seen])
        return {"rounds": [{"validation": None, "seconds": 0.0, "labels": 0}]}

    monkeypatch.setattr(active, "run_training", trained)
    config = tiny.config(tmp_path, training__epochs="4", training__early_stopping="{patience: 2}")
    heard = reports(config, "train")
    assert [(report["step"], report["score"]) for report in heard] == [
        (number, -loss) for number, loss in enumerate(losses, start=1)
    ]
    assert [report["step"] for report in heard if report["last"]] == last
