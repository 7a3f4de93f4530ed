"""What a batch of trials comes to, with trials that only seem to run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from mlflow.exceptions import MlflowException

from pipelines.config import load
from pipelines.storage import open_storage
from pipelines.sweep import batch
from pipelines.sweep.comparison import compared
from pipelines.sweep.models import looked_at_once
from pipelines.sweep.plan import trials
from pipelines.sweep.state import Sweep
from weakseg.errors import WeaksegError

GRID = {"sweep__fields": "{loss.consistency: [0.0, 0.1], labelling.pixels_per_image: [5, 10]}"}


def plan(root: Path, **changes: str):
    return load("demo", tiny.overrides(root, run="sw", **{**GRID, **changes}), verb="sweep")


class Kept:
    """A sweep's ledger, in memory."""

    run = "sw"

    def __init__(self, root: Path):
        self.storage, self.kept = open_storage(root), {}

    def key(self, name: str) -> str:
        return name

    def address(self, name: str) -> str:
        return name

    def write_json(self, name: str, value: Any) -> None:
        self.kept[name] = value

    def write_bytes(self, name: str, data: bytes) -> None:
        self.kept[name] = data


def one_batch(
    config,
    points,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    becomes,
    *,
    tracker=None,
    opened=None,
    fault=lambda config: None,
) -> tuple[Any, list[str]]:
    """The state after trials that only seem to run, and the names of those; `becomes` says what each comes to."""
    begun = []

    def seem_to_run(tasks, *, finished, failed, **_):
        for name in tasks:
            begun.append(name)
            becomes(name, finished, failed)

    monkeypatch.setattr(batch, "run_trials", seem_to_run)
    state = Sweep(config, Kept(root), tracker, "id", tiny.console(), at_once=1, carry=None, fault=fault)
    found = trials(config, points)
    batch.run_batch(state, SimpleNamespace(mailbox=None, opened=opened or {}), found, len(found))
    return state, begun


def test_a_point_that_cannot_be_is_told_and_the_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    fields = "{labelling.acquisition: [margin, random], labelling.committee: [null, {passes: 3}]}"
    config = plan(tmp_path, model__dropout="0.2", sweep__fields=fields, sweep__search="optuna", sweep__trials="2")
    good, bad = (
        {"labelling.acquisition": which, "labelling.committee": {"passes": 3}} for which in ("margin", "random")
    )
    outcome = {"score": 0.5, "seconds": 1.0, "took": 1.0}
    state, begun = one_batch(
        config, [bad, good], tmp_path, monkeypatch, lambda name, finished, failed: finished(name, outcome)
    )
    wrong, right = (trial.name for trial in trials(config, [bad, good]))
    assert (begun, set(state.records), state.failures) == ([right], {wrong, right}, {})
    record = state.ledger.kept[f"trials/{wrong}.json"]
    assert record["invalid"]
    assert record["error"].startswith("labelling.committee: only counts where a prediction is scored")
    assert "seed 0: cannot be run: labelling.committee: only counts" in capsys.readouterr().out
    assert (batch.score_of(state)(bad), batch.score_of(state)(good)) == (None, 0.5)


def test_a_point_whose_model_cannot_be_built_is_told_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fields = "{model.architecture: [fcn8, deeplabv3plus]}"
    config = plan(tmp_path, sweep__fields=fields, sweep__search="optuna", sweep__trials="2")
    points = [{"model.architecture": name} for name in ("deeplabv3plus", "fcn8")]
    wrong, right = (trial.name for trial in trials(config, points))
    outcome = {"score": 0.5, "seconds": 1.0, "took": 1.0}
    state, begun = one_batch(
        config, points, tmp_path, monkeypatch, lambda name, finished, failed: finished(name, outcome),
        fault=looked_at_once(5),
    )  # fmt: skip
    assert begun == [right]
    assert state.records[wrong]["error"].startswith("model: deeplabv3plus cannot be built on encoder squeezenet1_0")


def test_a_training_that_is_stopped_is_not_told_its_loss_as_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    point = {"loss.consistency": 0.1, "labelling.pixels_per_image": 5}
    outcome = {"stopped": True, "score": -0.57}
    one_batch(plan(tmp_path), [point], tmp_path, monkeypatch, lambda name, finished, failed: finished(name, outcome))
    told = capsys.readouterr().out
    assert "stopped" in told
    assert "57" not in told


def test_a_failure_is_told_without_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    point = {"loss.consistency": 0.1, "labelling.pixels_per_image": 5}
    error = "Traceback\nMlflowException: API request to http://me:hunter2@server/api failed"
    state, _ = one_batch(
        plan(tmp_path), [point], tmp_path, monkeypatch, lambda name, finished, failed: failed(name, error)
    )
    told = capsys.readouterr().out + repr(state.ledger.kept) + repr(state.failures)
    assert "http://me:***@server/api failed" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("becomes", ["stopped", "failed"])
def test_what_a_trial_came_to_is_kept_though_mlflow_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, becomes: str
):
    config, point = plan(tmp_path), {"loss.consistency": 0.1, "labelling.pixels_per_image": 5}
    (trial,) = trials(config, [point])

    def end(run_id: str, status: str) -> None:
        raise MlflowException("no server\nat all")

    def became(name, finished, failed):
        finished(name, {"stopped": True, "score": 0.1}) if becomes == "stopped" else failed(name, "KeyError: 1")

    state, _ = one_batch(
        config, [point], tmp_path, monkeypatch, became,
        tracker=SimpleNamespace(end=end), opened={trial.name: "its run"},
    )  # fmt: skip
    kept = {"stopped": f"trials/{trial.name}.json", "failed": f"failures/{trial.name}.txt"}
    assert list(state.ledger.kept) == [kept[becomes]]
    told = capsys.readouterr().out
    assert "MLflow: the run stays open (no server)\n" in told
    assert f"seed 0: {becomes}" in told


def test_a_trial_that_diverged_is_recorded_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    config, points = plan(tmp_path), [{"loss.consistency": 0.1, "labelling.pixels_per_image": k} for k in (5, 10)]
    bad, good = (trial.name for trial in trials(config, points))
    diverged = {"score": None, "diverged": True, "error": "the training has diverged; lower the learning rate"}
    whole = {"score": 0.5, "seconds": 1.0, "took": 1.0}
    state, _ = one_batch(
        config, points, tmp_path, monkeypatch,
        lambda name, finished, failed: finished(name, diverged if name == bad else whole),
    )  # fmt: skip
    assert state.ledger.kept[f"trials/{bad}.json"]["diverged"]
    assert (set(state.records), state.failures) == ({bad, good}, {})
    assert "labelling.pixels_per_image=5, seed 0: the training has diverged; lower" in capsys.readouterr().out
    assert (batch.score_of(state)(points[0]), batch.score_of(state)(points[1])) == (None, 0.5)


def test_a_sweep_all_of_whose_trials_diverged_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config, point = plan(tmp_path), {"loss.consistency": 0.1, "labelling.pixels_per_image": 5}
    diverged = {"score": None, "diverged": True, "error": "the training has diverged"}
    state, _ = one_batch(
        config, [point], tmp_path, monkeypatch, lambda name, finished, failed: finished(name, diverged)
    )
    with pytest.raises(WeaksegError, match="sweep sw: no trial has a score; the last one: the training has diverged"):
        compared(state, trials(config, [point]), [], "demo")
