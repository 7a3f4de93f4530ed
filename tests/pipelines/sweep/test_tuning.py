"""Trials on the session's Ray; what a trial does is cheap here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.config.sweep import Asha
from pipelines.storage import open_storage
from pipelines.sweep import tuning
from pipelines.sweep.rungs import Rungs
from weakseg.errors import ConfigError, DivergedError, LedgerError, ResourceError, WeaksegError


def halving():
    """Rungs at 1, 2, 4 reports, in memory."""
    kept = SimpleNamespace(exists=lambda key: False, write_json=lambda key, value: None)
    return Rungs(Asha(grace=1, reduction=2), kept).behind


def ran(folder: Path, tasks, carry, **options):
    """What the driver is told of trials: outcomes and last errors by name."""
    outcomes, errors = {}, {}
    options = {"at_once": 2, "behind": None, **options}
    tuning.run_trials(
        tasks, storage=open_storage(folder), key="runs/s/tune", finished=outcomes.__setitem__,
        failed=errors.__setitem__, carry=carry, **options,
    )  # fmt: skip
    assert not list(folder.glob("runs/s/tune"))
    return outcomes, errors


@pytest.mark.ray
def test_those_behind_are_stopped(ray_session: str, tmp_path: Path):
    def carry(score, report):
        for step in range(1, 5):
            report({"step": step, "score": score, "last": step == 4})
        return {"score": score}

    tasks = {f"t{k}": 10.0 - k for k in range(3)}
    outcomes, errors = ran(tmp_path, tasks, carry, at_once=1, behind=halving())
    assert outcomes == {
        "t0": {"score": 10.0},
        "t1": {"score": 9.0, "stopped": True},
        "t2": {"score": 8.0, "stopped": True},
    }
    assert not errors


@pytest.mark.ray
def test_what_a_trial_comes_to_is_not_compared_with_how_others_go(ray_session: str, tmp_path: Path):
    def carry(reports, report):
        for step in range(1, reports + 1):  # as a training does: its validation loss, negated
            report({"step": step, "score": -1.0 / reports, "last": step == reports})
        return {"score": 0.4}

    outcomes, _ = ran(tmp_path, {"short": 1, "better": 4}, carry, at_once=1, behind=halving())
    assert outcomes == {"short": {"score": 0.4}, "better": {"score": 0.4}}


@pytest.mark.ray
@pytest.mark.parametrize("asha", [False, True], ids=["whole", "asha"])
def test_the_users_fault_ends_all_with_its_line(ray_session: str, tmp_path: Path, asha: bool):
    def carry(task, report):
        from weakseg.errors import DataError

        raise DataError("mask missing\nanother")

    with pytest.raises(WeaksegError) as caught:
        ran(tmp_path, {"a": None, "b": None}, carry, at_once=1, behind=halving() if asha else None)
    assert str(caught.value) == "trial a: mask missing\ntrial a: another"


def test_nothing_to_do_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuning.tune, "Tuner", None)
    assert ran(tmp_path, {}, None) == ({}, {})


def reported(error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Tune hears of a trial that raises an error."""

    def carry(task, report):
        raise error

    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(tuning.tune, "report", heard.append)
    tuning._trainable({"a": None}, carry)({"trial": "a"})
    return heard


def test_a_trial_that_diverged_has_an_outcome(monkeypatch: pytest.MonkeyPatch):
    outcome = {"score": None, "diverged": True, "error": "the training has diverged"}
    assert reported(DivergedError("the training has diverged"), monkeypatch) == [{"outcome": outcome}]


@pytest.mark.parametrize("error", [ResourceError("no answer"), LedgerError("owned by another"), KeyError("x")])
def test_what_one_trial_alone_may_meet_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(type(error)):
        reported(error, monkeypatch)


def test_what_every_trial_would_meet_is_told_as_the_users_fault(monkeypatch: pytest.MonkeyPatch):
    assert reported(ConfigError(["a: wrong", "b: wrong"]), monkeypatch) == [{"fault": "a: wrong\nb: wrong"}]


def test_a_report_is_judged_once_it_is_one_and_what_goes_wrong_there_ends_all():
    watch = tuning._Watch(None, None)
    judged = []

    def behind(name: str, step: int, score: float, *, last: bool) -> bool:
        judged.append((name, step, score, last))
        if step == 2:
            raise OSError("disk full")
        return True

    stopper = tuning._Stopper(watch, behind)
    here = {"config": {"trial": "a"}, "trial_id": "x"}
    assert not stopper("x", {**here, "outcome": {"score": 0.4}})
    assert stopper("x", {**here, "step": 1, "score": 0.4, "last": False})
    assert (judged, stopper.stop_all()) == ([("a", 1, 0.4, False)], False)
    assert not stopper("x", {**here, "step": 2, "score": 0.4, "last": False})
    assert stopper.stop_all()
    assert str(watch.error) == "disk full"
