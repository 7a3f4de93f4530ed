"""Tracking and registering against a real server: runs in PostgreSQL, artefacts on S3, over HTTP."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import stored_run
from mlflow.tracking import MlflowClient
from PIL import Image

from pipelines import register
from pipelines.ledger import Ledger
from pipelines.storage import open_storage
from pipelines.tracking import KEY, Tracker, open_tracker

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def registered(tmp_path_factory, mlflow_server) -> tuple[Path, dict]:
    """A stored run that was registered on the server, twice by the same key."""
    root = tmp_path_factory.mktemp("stored")
    stored_run.write(root)
    with pytest.MonkeyPatch.context() as patch, stored_run.opened(root) as (plan, ledger):
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
        tracker, run_id = stored_run.tracked(plan, ledger)
        tracker.log_bytes(run_id, "report.html", b"<p>")
        results = [register.run(plan, ledger, tracker, 1, stored_run.rounds(ledger), run_id=run_id) for _ in range(2)]
        tracker.finish(run_id)
    assert results[0] == results[1]
    return root, results[0]


def test_the_server_keeps_runs_metrics_and_files(mlflow_server, tmp_path):
    tracker = Tracker(mlflow_server, "served")
    run = tracker.run("demo-1", name="demo", params={"labelling": {"rounds": 2}}, tags={"pool_digest": "0"})
    epochs = [{"epoch": epoch, "loss": 1.0 / (epoch + 1)} for epoch in range(3)]
    tracker.log_epochs(run, epochs[:2])
    tracker.log_bytes(run, "figures/curve.png", b"picture")
    again = Tracker(mlflow_server, "served")
    assert again.run("demo-1", name="demo", params={"labelling": {"rounds": 3}}) == run
    again.log_epochs(run, epochs)
    again.finish(run)
    found = MlflowClient(mlflow_server).get_run(run)
    assert found.info.status == "FINISHED"
    assert found.data.params["labelling.rounds"] == "2"
    assert found.data.tags["amended.labelling.rounds"] == "3"
    assert found.data.tags[KEY] == "demo-1"
    history = MlflowClient(mlflow_server).get_metric_history(run, "loss")
    assert sorted(metric.step for metric in history) == [0, 1, 2]
    assert found.info.artifact_uri.startswith("mlflow-artifacts:")
    path = MlflowClient(mlflow_server).download_artifacts(run, "figures/curve.png", str(tmp_path))
    assert Path(path).read_bytes() == b"picture"


def test_files_lie_on_s3_and_not_on_the_disk(mlflow_server, bucket, s3_server):
    tracker = Tracker(mlflow_server, "served-files")
    run = tracker.run("demo-2", name="demo")
    tracker.log_bytes(run, "note.txt", b"here")
    store = open_storage(f"s3://{bucket}/weakseg-test/mlflow")
    (key,) = [key for key in store.list() if run in key]
    assert store.read_bytes(key) == b"here"


def test_one_experiment_is_made_by_many_at_once(mlflow_server):
    with ThreadPoolExecutor(4) as pool:
        trackers = list(pool.map(lambda _: Tracker(mlflow_server, "served-shared"), range(4)))
    assert len({tracker.experiment_id for tracker in trackers}) == 1


def test_a_run_is_registered_once(registered, mlflow_server):
    root, result = registered
    assert result == {"name": "scenes", "version": 1, "alias": "champion", "round": 1}
    client = MlflowClient(mlflow_server)
    (version,) = client.search_model_versions("name = 'scenes'")
    assert version.tags["pool_digest"] == Ledger.read(open_storage(root), "stored").pool.digest
    assert version.source.startswith("models:/")
    assert client.get_model_version_by_alias("scenes", "champion").version == version.version
    assert not (root / "mlflow.db").exists()
    assert not (root / "mlruns").exists()


def test_a_process_that_knows_the_server_alone_loads_the_champion(registered, mlflow_server, tmp_path):
    """Neither Ray nor access to S3: the server passes the files on."""
    Image.new("RGB", (64, 48), (90, 120, 60)).save(tmp_path / "photo.png")
    code = (
        "import io, json, sys, mlflow, pandas as pd\n"
        "from PIL import Image\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/scenes@champion')\n"
        "masks = model.predict(pd.DataFrame({'image': [open(sys.argv[2], 'rb').read()]}))['mask']\n"
        "size = Image.open(io.BytesIO(masks[0])).size\n"
        "print(json.dumps({'size': size, 'ray': 'ray' in sys.modules}))\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, mlflow_server, str(tmp_path / "photo.png")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"size": [64, 48], "ray": False}


def test_the_tracking_store_of_a_root_on_s3_is_the_server(mlflow_server, s3_root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    storage = open_storage(s3_root)
    tracker = open_tracker(stored_run.config(s3_root), storage)
    assert tracker.uri == mlflow_server
    assert storage.list() == []  # no database, no lock
