"""A sweep end to end: with cheap trials, killed ones and failing ones; and small real ones through the command line."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image

from pipelines.config import load
from pipelines.ledger import Ledger
from pipelines.prepare import PoolResult
from pipelines.status import status
from pipelines.storage import open_storage
from pipelines.sweep import driver
from weakseg.errors import DataError, LedgerError, ResourceError

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[3]
GRID = {"sweep__fields": "{loss.consistency: [0.0, 0.1], labelling.pixels_per_image: [5, 10]}"}


def plan(root: Path, **changes: str):
    return load("demo", tiny.overrides(root, run="sw", **{**GRID, **changes}), verb="sweep")


def runs(root: Path) -> tuple[MlflowClient, list[Any]]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return client, list(client.search_runs([found.experiment_id for found in client.search_experiments()]))


def below(found: list[Any], parent: str | None) -> list[Any]:
    return [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent]


def counts(**given: int) -> dict[str, int]:
    return {"stopped": 0, "diverged": 0, "invalid": 0, **given}


@pytest.fixture
def counted(tmp_path: Path):
    """A cheap trial that counts its starts, and is put right when the file `mended` is there."""
    folder = str(tmp_path)

    def carry(task, report):
        import os
        from pathlib import Path

        from pipelines.sweep.relay import RelayedTracker

        tracker, config = RelayedTracker(task.mailbox), task.config
        run_id = tracker.run(config.run, name=config.run, parent_run_id=task.parent_run_id, params={"seed": 0})
        starts = Path(folder, "starts.txt")
        before = starts.read_text().split() if starts.exists() else []
        with starts.open("a") as file:
            file.write(f"{config.run}\n")
        weight, pixels = config.loss.consistency, config.labelling.pixels_per_image
        if (weight, pixels) == (0.0, 5) and config.run not in before:
            os._exit(1)  # as a node that is lost
        if (weight, pixels) == (0.1, 10) and not Path(folder, "mended").exists():
            raise KeyError("a fault of ours")
        score = 0.2 + weight + pixels / 100
        tracker.log_metrics(run_id, {"val_miou": score}, step=0)
        tracker.finish(run_id)
        return {"score": score, "miou": score, "seconds": 10.0 * pixels, "labels": 1, "rounds": 1, "took": 0.1}

    return carry


def test_lost_trials_are_tried_again_failed_ones_told_and_finished_ones_only_read(
    ray_session: str, tmp_path: Path, counted, monkeypatch: pytest.MonkeyPatch, capsys
):
    config = plan(tmp_path)
    # No images are needed: what prepare gives is all that is looked at.
    monkeypatch.setattr(driver, "_prepared", lambda *_: type("Pool", (), {"digest": "p" * 12}))
    first = driver.sweep(config, tiny.console(), source="demo", carry=counted)
    assert first["trials"] == counts(planned=4, finished=3, failed=1, before=0)
    failed = next(
        trial.name for trial in driver.trials(config, [{"loss.consistency": 0.1, "labelling.pixels_per_image": 10}])
    )
    starts = Counter((tmp_path / "starts.txt").read_text().split())
    assert sorted(starts.values()) == [1, 1, 2, 3]
    assert starts[failed] == 3
    assert f"failed: {failed}: KeyError: 'a fault of ours'" in capsys.readouterr().out
    assert "KeyError" in (tmp_path / "runs" / "sw" / "failures" / f"{failed}.txt").read_text()

    (tmp_path / "mended").touch()
    again = driver.sweep(config, tiny.console(), source="demo", carry=counted)
    assert again["trials"] == counts(planned=4, finished=4, failed=0, before=3)
    assert Counter((tmp_path / "starts.txt").read_text().split()) - starts == Counter([failed])
    assert [row["score"] for row in again["table"]] == pytest.approx([0.25, 0.3, 0.35, 0.4])
    assert [row["front"] for row in again["table"]] == [False, False, True, True]
    assert again["best"]["point"] == {"loss.consistency": 0.1, "labelling.pixels_per_image": 10}
    for path in again["figures"].values():
        assert Image.open(path).size[0] > 400
    assert set(again["figures"]) == {"heatmap.png", "front.png"}
    best = load(again["best"]["recipe"])
    assert (best.run, best.loss.consistency, best.labelling.pixels_per_image) == (failed, 0.1, 10)

    client, found = runs(tmp_path)
    (parent,) = below(found, None)
    children = below(found, parent.info.run_id)
    assert len(found) == 5
    assert {run.info.status for run in found} == {"FINISHED"}
    assert sorted(run.info.run_name for run in children) == sorted({*starts})
    assert parent.data.metrics["best_miou"] == pytest.approx(0.4)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"best.yaml", "heatmap.png"}

    told = status(config, tiny.console())
    assert (told["done"], told["planned"], told["running"], told["step"]) == (4, 4, [], "finished")
    with pytest.raises(LedgerError, match=r"training.lr: was 0.001, now 0.5"):
        driver.sweep(plan(tmp_path, training__lr="0.5"), tiny.console(), source="demo", carry=counted)


def test_a_plan_that_cannot_be_carried_is_refused_before_anything_is_made(ray_session: str, tmp_path: Path):
    with pytest.raises(ResourceError, match=r"sweep.max_concurrent: 9 trials do not fit at once: the cluster has room"):
        driver.sweep(plan(tmp_path, sweep__max_concurrent="9"), tiny.console(), source="demo")
    with pytest.raises(ResourceError, match=r"cluster.workers: 50"):
        driver.sweep(plan(tmp_path, cluster__workers="50", training__batch_size="100"), tiny.console(), source="demo")
    assert not (tmp_path / "pools").exists()
    assert not (tmp_path / "runs" / "sw").exists()


def test_without_validation_masks_there_is_nothing_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nothing = PoolResult("p" * 12, {"train": 3}, {"train": 3}, quarantined=0, segments=0, chunks=0)
    monkeypatch.setattr(driver.prepare, "run", lambda *arguments, **options: nothing)
    with pytest.raises(DataError, match="compared on validation masks"):
        driver._prepared(plan(tmp_path), [("", plan(tmp_path))], open_storage(tmp_path), tiny.console())


@pytest.mark.long
def test_a_small_sweep_of_trainings_and_its_best_recipe(ray_session: str, tmp_path: Path):
    changes = {
        "run": "sw",
        "sweep__verb": "train",
        "sweep__fields": "{loss.consistency: [0.0, 0.5]}",
        "sweep__max_concurrent": "2",
        "training__epochs": "1",
        "data__images": "12",
    }
    result = tiny.run("sweep", tmp_path, address=ray_session, **changes)
    assert result["trials"]["finished"] == 2
    client, found = runs(tmp_path)
    _check_tracking(found, trials=2)
    assert client.search_registered_models() == []
    assert not list(tmp_path.glob("runs/*/test.json"))
    assert len(list(tmp_path.glob("pools/*/_SUCCESS"))) == 1

    model = tmp_path / "runs" / result["best"]["run"] / "rounds" / "000" / "model.safetensors"
    trained = model.stat().st_mtime_ns
    done = _best(result, ray_session)
    assert done["model"]["version"] == 1
    assert done["test"] is not None
    assert model.stat().st_mtime_ns == trained
    _check_tracking(runs(tmp_path)[1], trials=2)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_training_that_diverges_leaves_the_others_alone(ray_session: str, tmp_path: Path):
    changes = {"run": "sw", "sweep__verb": "train", "sweep__fields": "{training.lr: [1.0e+30, 0.001]}"}
    result = tiny.run("sweep", tmp_path, address=ray_session, data__images="12", **changes)
    assert result["trials"] == counts(planned=2, finished=1, diverged=1, failed=0, before=0)
    assert result["best"]["point"] == {"training.lr": 0.001}
    (record,) = [
        record
        for path in (tmp_path / "runs" / "sw" / "trials").iterdir()
        if (record := json.loads(path.read_text())).get("diverged")
    ]
    assert "the training has diverged; lower" in record["error"]
    _, found = runs(tmp_path)
    assert sorted(run.info.status for run in below(found, below(found, None)[0].info.run_id)) == ["FAILED", "FINISHED"]
    again = tiny.run("sweep", tmp_path, address=ray_session, data__images="12", **changes)
    assert again["trials"] == counts(planned=2, finished=1, diverged=1, failed=0, before=2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_killed_sweep_goes_on_and_every_trial_is_there_once(ray_session: str, tmp_path: Path):
    changes = {"run": "sw", "labelling__rounds": "1", "sweep__seeds": "[0, 1]", **GRID}
    kept: dict[Path, int] = {}
    for count in (1, 4, 7):
        killed = subprocess.run(
            [
                sys.executable,
                str(ROOT / "tests" / "killed_sweep.py"),
                str(count),
                *tiny.command("sweep", tmp_path, **changes)[3:],
            ],
            env={**os.environ, "RAY_ADDRESS": ray_session, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-4000:]
        records = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "sw" / "trials").iterdir()}
        assert len(records) == count
        models = [tmp_path / "runs" / path.stem / "rounds" / "000" / "model.safetensors" for path in records]
        kept |= records | {path: path.stat().st_mtime_ns for path in models}
    result = tiny.run("sweep", tmp_path, address=ray_session, **changes)
    assert result["trials"] == counts(planned=8, finished=8, failed=0, before=7)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    _check_tracking(runs(tmp_path)[1], trials=8)
    assert all(row["sd"] is not None and row["finished"] == 2 for row in result["table"])
    assert set(result["figures"]) == {"heatmap.png", "front.png"}
    assert len(list(tmp_path.glob("pools/*/_SUCCESS"))) == 1
    done = _best(result, ray_session)
    assert done["model"]["version"] == 1
    ledger = Ledger.read(open_storage(tmp_path), result["best"]["run"])
    assert ledger.read_json("rounds/000/metrics.json")["validation"] == done["rounds"][0]["validation"]


def _check_tracking(found: list[Any], *, trials: int) -> None:
    """One run of the sweep, one below it per trial, one below each of these per round; all ended well."""
    (parent,) = below(found, None)
    children = below(found, parent.info.run_id)
    assert len({run.info.run_name for run in children}) == len(children) == trials
    for child in children:
        assert [run.info.run_name for run in below(found, child.info.run_id)] == [f"{child.info.run_name}/0"]
    assert len(found) == 1 + 2 * trials
    assert {run.info.status for run in found} == {"FINISHED"}


def _best(result: dict[str, Any], address: str) -> dict[str, Any]:
    """What running the best recipe as it stands gives."""
    recipe = Path(result["best"]["recipe"])
    verb = recipe.read_text().splitlines()[1].split()[2]
    assert yaml.safe_load(recipe.read_text())["base"] == "demo"
    finished = subprocess.run(
        [sys.executable, "-m", "pipelines", verb, "--config", str(recipe), "--json"],
        env={**os.environ, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout.strip().splitlines()[-1])
