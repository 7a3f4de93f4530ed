"""The rounds end to end, killed and resumed: the real command line on a real Ray; steps of the driver alone."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import stored_run
import tiny
from mlflow.tracking import MlflowClient

from pipelines import active
from pipelines.rounds import chosen_round
from weakseg.errors import LedgerError, WeaksegError

KILLER = Path(__file__).parents[1] / "killed_driver.py"
BOUNDARIES = [
    *[(step, 0) for step in ("select", "annotate", "train", "evaluate", "round")],
    *[(step, 1) for step in ("score", "select", "annotate", "train", "evaluate", "round")],
    *[(step, None) for step in ("test", "register", "report")],
]
"""Every named step of two rounds, in order; None = whichever round was chosen."""


def test_learns_registers_and_reports(finished_run: tuple[Path, dict[str, Any]]) -> None:
    root, result = finished_run
    assert [metrics["labels_per_image"] for metrics in result["rounds"]] == [5.0, 10.0]
    assert all(0 < metrics["validation"]["miou"] < 1 for metrics in result["rounds"])
    assert result["test"]["round"] == result["model"]["round"]
    assert result["model"]["version"] == 1
    assert result["model"]["alias"] == "champion"
    assert "<html" in Path(result["report"]).read_text()
    _check_labels(root, rounds=2)
    _check_tracking(root, rounds=2)


def test_same_command_again_does_nothing_new(finished_run: tuple[Path, dict[str, Any]], ray_session: str) -> None:
    root, result = finished_run
    before = _times(root)
    again = tiny.run("active", root, address=ray_session)
    assert again["rounds"] == result["rounds"]
    assert again["model"] == result["model"]
    assert _times(root) == before
    _check_tracking(root, rounds=2)


def test_evaluating_again_gives_the_same(finished_run: tuple[Path, dict[str, Any]], ray_session: str) -> None:
    root, result = finished_run
    again = tiny.run("evaluate", root, address=ray_session)
    assert again["round"] == 1
    assert again["val"] == result["rounds"][1]["validation"]


def test_other_identity_is_refused_by_field(finished_run: tuple[Path, dict[str, Any]], ray_session: str) -> None:
    root, _ = finished_run
    failed = subprocess.run(
        tiny.command("active", root, training__lr="0.01"),
        env={**os.environ, "RAY_ADDRESS": ray_session},
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 2
    assert "training.lr" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_what_a_driver_died_before_logging_the_next_one_logs(tmp_path: Path, mlflow_uri: str) -> None:
    stored_run.write(tmp_path)  # with test.json, but nothing in MLflow
    with stored_run.opened(tmp_path) as (plan, ledger):
        for _ in range(2):
            tracker, run_id = stored_run.tracked(plan, ledger)
            test = active._test(active.Driver(plan, ledger, tracker, run_id, tiny.console()), 1)
            assert test == ledger.read_json("test.json")
            assert tracker.client.get_run(run_id).data.metrics == {"test_miou": 0.3125, "test_boundary_f1": 0.15625}
            assert [metric.step for metric in tracker.client.get_metric_history(run_id, "test_miou")] == [1]


@pytest.mark.parametrize("complete", [True, False])
def test_no_stricter_rule_ends_before_rounds_that_are_there(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    """Else another round than the report's star would be tested and registered."""
    stored_run.write(tmp_path)
    if not complete:
        (tmp_path / "runs/stored/rounds/001/_SUCCESS").unlink()
    monkeypatch.setattr(active, "_round", lambda driver, round: stored_run.rounds(driver.ledger)[round])
    monkeypatch.setattr(active, "_finish", lambda driver, rounds, reason: {"rounds": len(rounds), "reason": reason})
    with stored_run.opened(tmp_path) as (_, ledger):
        plan = stored_run.config(tmp_path, "labelling.rounds=9", "stop.budget=1")
        driver = active.Driver(plan, ledger, *stored_run.tracked(plan, ledger), tiny.console())
        monkeypatch.setattr(active, "_driver", lambda *_: nullcontext(driver))
        reason = "another round would exceed the budget of 1 labels"
        assert active.active(plan, tiny.console()) == {"rounds": 2, "reason": reason}


def test_the_round_that_is_tested_and_registered_is_written_down(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_run.write(tmp_path)
    monkeypatch.setattr(active.register, "run", lambda *_, **__: None)
    with stored_run.opened(tmp_path) as (plan, ledger):
        driver = active.Driver(plan, ledger, *stored_run.tracked(plan, ledger), tiny.console())
        active._finish(driver, stored_run.rounds(ledger), "all rounds are done")
        assert chosen_round(ledger, stored_run.rounds(ledger)) == 1
        better = stored_run.rounds(ledger)
        better[0]["validation"]["miou"] = 0.9
        assert chosen_round(ledger, better) == 1  # until the run ends again


@pytest.mark.parametrize("trains", [True, False])
def test_what_crops_tell_beyond_the_bill_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trains: bool
) -> None:
    for name in ("connect", "check", "misplaced"):
        monkeypatch.setattr(active.resources, name, lambda *_, **__: None)
    monkeypatch.setattr(active.prepare, "run", lambda *_, **__: None)
    plan = stored_run.config(tmp_path, "supervision.proportions=masks")
    with pytest.raises(AttributeError), active._opened(plan, tiny.console(), trains=trains):
        pass
    assert ("note: class proportions are counted anew in every crop" in capsys.readouterr().out) is trains


def test_train_takes_no_run_that_learns_in_rounds(tmp_path: Path) -> None:
    """It would test and register the first round in place of the chosen one."""
    stored_run.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(LedgerError, match="run stored has learned in rounds .*choose another name"):
        active.run_training(stored_run.config(tmp_path), tiny.console())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_evaluating_what_is_not_there_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_run.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(active.resources, "connect", lambda *_, **__: pytest.fail("it would begin"))
    with pytest.raises(LedgerError, match="no run stord in storage .*; there are: stored$"):
        active.evaluate_run(stored_run.config(tmp_path, "run=stord"), tiny.console())
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "runs" / "stored" / "rounds" / "000" / "_SUCCESS").unlink()
    with pytest.raises(WeaksegError, match="run stored: no finished round to evaluate"):
        active.evaluate_run(stored_run.config(tmp_path), tiny.console())


def test_evaluating_leaves_the_runs_state_in_mlflow_as_it_was(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_run.write(tmp_path)
    with stored_run.opened(tmp_path) as (plan, ledger):
        pool, scores = ledger.pool, stored_run.rounds(ledger)[1]["validation"]
        tracker, run_id = stored_run.tracked(plan, ledger)
        tracker.finish(run_id, "KILLED")
    for name in ("connect", "check", "misplaced"):
        monkeypatch.setattr(active.resources, name, lambda *_, **__: None)
    monkeypatch.setattr(active.prepare, "run", lambda *_, **__: pool)
    monkeypatch.setattr(active.evaluate, "run", lambda *_, **__: scores)
    result = active.evaluate_run(plan, tiny.console())
    assert result == {"run": "stored", "round": 1, "val": scores, "test": scores}
    assert [run.info.status for run in tracker.client.search_runs([tracker.experiment_id])] == ["KILLED"]


@pytest.mark.long
def test_more_rounds_on_a_finished_run_go_on(
    finished_run: tuple[Path, dict[str, Any]], ray_session: str, tmp_path: Path
) -> None:
    root, result = finished_run
    shutil.copytree(root, tmp_path / "copy")
    # An artefact store names absolute places: the copy tracks in a database of its own.
    (tmp_path / "copy" / "mlflow.db").unlink()
    longer = tiny.run("active", tmp_path / "copy", address=ray_session, labelling__rounds="3", training__epochs="2")
    assert longer["rounds"][:2] == result["rounds"]
    assert longer["rounds"][2]["labels_per_image"] == 15.0
    _check_labels(tmp_path / "copy", rounds=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_at_every_step_ends_the_same(
    finished_run: tuple[Path, dict[str, Any]], ray_session: str, tmp_path: Path
) -> None:
    chosen = finished_run[1]["model"]["round"]
    for step, round in BOUNDARIES:
        _killed_at(tmp_path, ray_session, step, chosen if round is None else round)
        _check_labels(tmp_path, rounds=None)
    _check_same(finished_run, tmp_path, tiny.run("active", tmp_path, address=ray_session))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_at_random_moments_ends_the_same(
    finished_run: tuple[Path, dict[str, Any]], ray_session: str, tmp_path: Path
) -> None:
    moments = random.Random(7)
    killed = 0
    while killed < 12:
        root = tmp_path / str(killed)
        # Several kills per run while it lasts: moments are drawn over the length of an uninterrupted run.
        while killed < 12:
            driver = _start(root, ray_session, [sys.executable, "-m", "pipelines"])
            try:
                driver.wait(moments.uniform(3.0, 45.0))
            except subprocess.TimeoutExpired:
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                killed += 1
                _check_labels(root, rounds=None)
            else:
                assert driver.returncode == 0
                break
        _check_same(finished_run, root, tiny.run("active", root, address=ray_session))


def _start(root: Path, address: str, program: Sequence[str]) -> subprocess.Popen[bytes]:
    arguments = tiny.command("active", root)[3:]
    return subprocess.Popen(
        [*program, *arguments],
        env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(KILLER.parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _killed_at(root: Path, address: str, step: str, round: int) -> None:
    driver = _start(root, address, [sys.executable, str(KILLER), step, str(round)])
    assert driver.wait(timeout=240) == -signal.SIGKILL, f"the driver was not killed at {step} of round {round}"


def _table(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def _check_labels(root: Path, *, rounds: int | None) -> None:
    """One label per query, no pixel asked twice, in all finished rounds."""
    folders = sorted((root / "runs" / "tiny" / "rounds").glob("*"))
    labelled = [folder for folder in folders if (folder / "labels.parquet").exists()]
    if rounds is not None:
        assert len(labelled) == rounds
    asked = [
        {(row["image_id"], row["y"], row["x"]) for row in _table(folder / "queries.parquet")} for folder in labelled
    ]
    for folder, pixels in zip(labelled, asked, strict=True):
        rows = _table(folder / "labels.parquet")
        assert len(rows) == len(pixels)
        assert {(row["image_id"], row["y"], row["x"]) for row in rows} == pixels
    assert len(set().union(*asked)) == sum(len(pixels) for pixels in asked) if asked else True


def _check_same(finished: tuple[Path, dict[str, Any]], root: Path, result: dict[str, Any]) -> None:
    """The interrupted run ended as the uninterrupted one: selection, metrics, one MLflow run a round, one version."""
    assert result["rounds"] == finished[1]["rounds"]
    assert result["test"] == finished[1]["test"]
    for round in ("000", "001"):
        name = Path("runs", "tiny", "rounds", round, "queries.parquet")
        assert _table(root / name) == _table(finished[0] / name)
    _check_labels(root, rounds=2)
    _check_tracking(root, rounds=2)


def _check_tracking(root: Path, *, rounds: int) -> None:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len(runs) == rounds + 1, [run.info.run_name for run in runs]
    assert all(run.info.status == "FINISHED" for run in runs)
    assert len(client.search_model_versions("name='tiny'")) == 1
    for run in runs:
        if "mlflow.parentRunId" in run.data.tags:
            steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]
            assert sorted(steps) == sorted(set(steps))
            assert len(steps) == 2


def _times(root: Path) -> dict[str, int]:
    """When each artefact of the rounds and the pool was written."""
    files = [*root.glob("pools/**/*"), *root.glob("runs/tiny/rounds/**/*")]
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}
