from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.config import Config, load
from pipelines.console import Console
from pipelines.storage import open_storage
from pipelines.tracking import KEY, Tracker, ended, open_tracker
from weakseg.errors import LedgerError, ResourceError


@pytest.fixture
def tracker(mlflow_uri: str, tmp_path: Path) -> Tracker:
    return Tracker(mlflow_uri, "weakseg", artifact_location=(tmp_path / "mlruns").as_uri())


def configured(root: Path | str, *overrides: str) -> Config:
    return load("demo", [f"storage.root={root}", *overrides])


def again(tracker: Tracker) -> Tracker:
    """As a driver started again sees the store."""
    return Tracker(tracker.uri, "weakseg")


def test_a_key_has_one_run_that_goes_on(tracker: Tracker) -> None:
    parent = tracker.run("demo-1", name="demo")
    child = tracker.run("demo-1/0", name="demo/0", parent_run_id=parent, tags={"colour": "red"})
    assert parent != child
    tracker.finish(child, "FAILED")
    assert tracker.client.get_run(child).info.status == "FAILED"
    other = again(tracker)
    assert other.run("demo-1/0", name="demo/0", parent_run_id=parent, tags={"colour": "blue"}) == child
    run = other.client.get_run(child)
    assert run.info.status == "RUNNING"
    assert run.data.tags[KEY] == "demo-1/0"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["colour"] == "blue"
    assert len(other.client.search_runs([other.experiment_id])) == 2


def test_an_end_before_its_time_is_that_of_everything_still_running_below(tracker: Tracker) -> None:
    top = tracker.run("sweep", name="sweep")
    middle = tracker.run("sweep/a", name="a", parent_run_id=top)
    done = tracker.run("sweep/a/0", name="a/0", parent_run_id=middle)
    lowest = tracker.run("sweep/a/1", name="a/1", parent_run_id=middle)
    other = tracker.run("other", name="other")
    tracker.finish(done)
    again(tracker).end(top, "KILLED")
    found = {run.info.run_id: run.info.status for run in tracker.client.search_runs([tracker.experiment_id])}
    assert found == {top: "KILLED", middle: "KILLED", lowest: "KILLED", done: "FINISHED", other: "RUNNING"}


@pytest.mark.parametrize(
    ("error", "owned", "status"),
    [
        (None, True, "FINISHED"),
        (ResourceError("full"), True, "FAILED"),
        (KeyboardInterrupt(), True, "KILLED"),
        (LedgerError("run demo belongs to another driver"), False, "RUNNING"),
        (KeyboardInterrupt(), False, "RUNNING"),
    ],
)
def test_a_run_ends_as_its_driver_does_unless_another_has_taken_it_over(tracker: Tracker, error, owned, status) -> None:
    run_id = tracker.run("demo", name="demo")
    with pytest.raises(type(error)) if error else nullcontext(), ended(tracker, run_id, Owner(owned), Console()):
        if error:
            raise error
    assert tracker.client.get_run(run_id).info.status == status


@pytest.mark.parametrize("error", [ResourceError("full"), KeyboardInterrupt()])
def test_what_ended_a_run_is_told_even_where_its_end_cannot_be_logged(
    tracker: Tracker, error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = tracker.run("demo", name="demo")

    def fail(run_id: str, status: str) -> None:
        raise MlflowException("API request to http://me:hunter2@server failed\nwith a traceback")

    monkeypatch.setattr(tracker, "end", fail)
    with pytest.raises(type(error)) as caught, ended(tracker, run_id, Owner(True), Console()):
        raise error
    assert caught.value is error
    if isinstance(error, Exception):
        told = capsys.readouterr().out
        assert told == "MLflow: the run stays open (API request to http://me:***@server failed)\n"


@dataclass
class Owner:
    owned: bool


def test_a_deleted_run_is_made_anew(tracker: Tracker) -> None:
    first = tracker.run("demo-1", name="demo")
    tracker.client.delete_run(first)
    assert tracker.run("demo-1", name="demo") != first


@pytest.mark.parametrize("key", ["it's", 'say "x"', "ünï cödé/0"])
def test_keys_with_quotes(tracker: Tracker, key: str) -> None:
    assert tracker.run(key, name="demo") == again(tracker).run(key, name="demo")


def test_keys_that_no_filter_can_name_are_refused(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="quotes"):
        tracker.run("""it's "x" """, name="demo")


def test_steps_are_logged_once(tracker: Tracker) -> None:
    run = tracker.run("demo-1", name="demo")
    epochs = [{"epoch": epoch, "loss": 1.0 / (epoch + 1), "lr": 0.1} for epoch in range(4)]
    tracker.log_epochs(run, epochs[:2])
    tracker.log_epochs(run, epochs[:3])
    resumed = again(tracker)
    resumed.log_epochs(run, epochs)
    resumed.log_metrics(run, {"loss": 9.0, "new": 5.0, "none": None}, step=1)
    history = resumed.client.get_metric_history(run, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(row["epoch"], row["loss"]) for row in epochs]
    assert [metric.step for metric in resumed.client.get_metric_history(run, "new")] == [1]
    assert "none" not in resumed.client.get_run(run).data.metrics


def test_metric_names_of_any_class(tracker: Tracker) -> None:
    run = tracker.run("demo-1", name="demo")
    tracker.log_metrics(run, {"iou_Straße/Weg (nass)": 0.5}, step=0)
    assert tracker.client.get_run(run).data.metrics == {"iou_Straße_Weg _nass_": 0.5}


def test_parameters_are_flattened_shortened_and_amended(tracker: Tracker) -> None:
    params = {"seed": 3, "labelling": {"rounds": 2, "note": "x" * 7000}, "data": {"size": [4, 5], "path": None}}
    run = tracker.run("demo-1", name="demo", params=params)
    logged = tracker.client.get_run(run).data.params
    assert logged["labelling.note"] == "x" * 5997 + "..."
    del logged["labelling.note"]
    assert logged == {"seed": "3", "labelling.rounds": "2", "data.size": "[4, 5]", "data.path": "null"}
    params["labelling"]["rounds"] = 3
    params["labelling"]["patience"] = 1
    resumed = again(tracker)
    assert resumed.run("demo-1", name="demo", params=params) == run
    stored = resumed.client.get_run(run).data
    assert stored.params["labelling.rounds"] == "2"
    assert stored.params["labelling.patience"] == "1"
    assert {name: value for name, value in stored.tags.items() if name.startswith("amended.")} == {
        "amended.labelling.rounds": "3"
    }


def test_more_parameters_than_one_call_takes(tracker: Tracker) -> None:
    run = tracker.run("demo-1", name="demo", params={f"p{i}": i for i in range(250)})
    assert len(tracker.client.get_run(run).data.params) == 250


def test_files_are_replaced(tracker: Tracker) -> None:
    run = tracker.run("demo-1", name="demo")
    for data in (b"one", b"two"):
        tracker.log_bytes(run, "figures/curve.png", data)
        tracker.log_bytes(run, "report.html", data)
    assert [item.path for item in tracker.client.list_artifacts(run)] == ["figures", "report.html"]
    assert Path(tracker.client.download_artifacts(run, "figures/curve.png")).read_bytes() == b"two"


def test_the_pool_is_an_input_with_its_digest(tracker: Tracker, tmp_path: Path) -> None:
    class Pool:
        storage, digest, manifest = open_storage(tmp_path / "data"), "0123456789ab", {"layout": "scenes"}

    run = tracker.run("demo-1", name="demo")
    for _ in range(2):
        tracker.log_pool(run, Pool())
    (entry,) = tracker.client.get_run(run).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("scenes", "0123456789ab")
    assert f"{tmp_path}/data/pools/0123456789ab" in entry.dataset.source
    assert [tag.value for tag in entry.tags] == ["training"]


def test_experiment_is_created_once_by_many(mlflow_uri: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        trackers = list(pool.map(lambda _: Tracker(mlflow_uri, "shared"), range(4)))
    assert len({tracker.experiment_id for tracker in trackers}) == 1


def test_deleted_experiment_is_named(tracker: Tracker) -> None:
    tracker.client.delete_experiment(tracker.experiment_id)
    with pytest.raises(ResourceError, match="deleted in MLflow; restore it with `MLFLOW_TRACKING_URI=sqlite:"):
        again(tracker)


def test_own_store_below_the_root(tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "a b#c%20d?e"
    root.mkdir()
    (root / "mlflow.db").write_bytes(migrated_database.read_bytes())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    tracker = open_tracker(configured(root), open_storage(root))
    run = tracker.run("demo-1", name="demo")
    tracker.log_bytes(run, "note.txt", b"here")
    assert [path.name for path in (root / "mlruns").rglob("note.txt")] == ["note.txt"]
    assert list(elsewhere.iterdir()) == []
    (tmp_path / "copy.db").write_bytes((root / "mlflow.db").read_bytes())
    assert len(MlflowClient(f"sqlite:///{tmp_path}/copy.db").search_runs([tracker.experiment_id])) == 1


@pytest.mark.s3
def test_with_a_root_on_s3_files_lie_beside_the_runs(
    tmp_path: Path, migrated_database: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(s3_root)
    (tmp_path / "own.db").write_bytes(migrated_database.read_bytes())
    tracker = open_tracker(configured(s3_root, f"tracking.uri=sqlite:///{tmp_path}/own.db"), storage)
    run = tracker.run("demo-1", name="demo")
    tracker.log_bytes(run, "note.txt", b"here")
    (key,) = storage.list("mlruns")
    assert key.endswith("/note.txt")

    class Pool:
        storage, digest, manifest = open_storage(s3_root), "0123456789ab", {"layout": "scenes"}

    tracker.log_pool(run, Pool())
    (entry,) = tracker.client.get_run(run).inputs.dataset_inputs
    assert f"{s3_root}/pools/0123456789ab" in entry.dataset.source
