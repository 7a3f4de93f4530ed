"""The rounds with pool and runs on S3 and MLflow on a server, against the same run in a folder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from mlflow.tracking import MlflowClient
from servers.faulty_s3 import FaultyS3, faulty

from pipelines.ledger import Ledger
from pipelines.storage import Storage, open_storage
from weakseg.codec import encode_png

pytestmark = [pytest.mark.ray, pytest.mark.s3]

KILLER = Path(__file__).parents[1] / "killed_driver.py"
LOADED = (
    "import io, json, sys, mlflow, pandas as pd\n"
    "from PIL import Image\n"
    "mlflow.set_tracking_uri(sys.argv[1])\n"
    "model = mlflow.pyfunc.load_model('models:/tiny@champion')\n"
    "masks = model.predict(pd.DataFrame({'image': [sys.stdin.buffer.read()]}))['mask']\n"
    "print(json.dumps([Image.open(io.BytesIO(masks[0])).size, 'ray' in sys.modules]))\n"
)


@pytest.fixture
def environment(ray_session: str, mlflow_server: str) -> dict[str, str]:
    """What a user exports beside the AWS variables."""
    return {**os.environ, "RAY_ADDRESS": ray_session, "MLFLOW_TRACKING_URI": mlflow_server}


@contextmanager
def disturbed(s3_server: str, environment: dict[str, str]) -> Iterator[tuple[FaultyS3, dict[str, str]]]:
    """The environment in which the driver and all its workers meet the proxy."""
    with faulty(s3_server, rate=0.05, seed=4) as proxy:
        own = {"AWS_ENDPOINT_URL_S3": proxy.url}
        # As `ray job submit` does: a driver's variables are not those of the workers.
        job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"env_vars": own}})}
        yield proxy, {**environment, **own, **job}


def finish(root: str, environment: dict[str, str], **changes: str) -> dict[str, Any]:
    """Run the command to its end; its JSON line."""
    done = subprocess.run(
        tiny.command("active", root, **changes), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def kill(step: str, round: int, root: str, environment: dict[str, str], **changes: str) -> None:
    """Run the command until it kills itself right after a step."""
    killed = subprocess.run(
        [sys.executable, str(KILLER), step, str(round), *tiny.command("active", root, **changes)[3:]],
        env={**environment, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr[-4000:]


def check_same(folder: Path, expected: dict[str, Any], root: str, result: dict[str, Any]) -> None:
    """Pool, queries, labels and scores are those of a run in a folder."""
    assert [round["validation"] for round in result["rounds"]] == [round["validation"] for round in expected["rounds"]]
    assert result["test"] == expected["test"]
    here, there = open_storage(folder), open_storage(root)
    keys = [key for key in there.list("pools") if not key.endswith(".lock")]
    assert keys == [key for key in here.list("pools") if not key.endswith(".lock")]
    for key in keys:
        if key.endswith(".parquet"):
            assert there.read_table(key).equals(here.read_table(key)), key
    for number in range(2):
        for table in ("queries", "labels"):
            assert rows(there, f"rounds/{number:03d}/{table}.parquet") == rows(
                here, f"rounds/{number:03d}/{table}.parquet"
            )


def rows(storage: Storage, key: str) -> list[dict[str, Any]]:
    """A table of the run without the time of day."""
    table = Ledger.read(storage, "tiny").read_table(key)
    return table.drop_columns([name for name in ("labelled_at",) if name in table.column_names]).to_pylist()


def check_tracking(uri: str, root: str, *, models: int = 1) -> None:
    """One run for the driver and one for each round, finished, in the experiment that this root's run names."""
    client = MlflowClient(uri)
    ledger = Ledger.read(open_storage(root), "tiny")
    experiment = client.get_experiment_by_name(ledger.record["config"]["tracking"]["experiment"])
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["weakseg.key"] for run in runs) == [
        ledger.id,
        *(f"{ledger.id}/{number}" for number in range(2)),
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret in text for run in runs for text in (*run.data.params.values(), *run.data.tags.values()))
    (top,) = [run for run in runs if run.data.tags["weakseg.key"] == ledger.id]
    (pool,) = top.inputs.dataset_inputs
    assert f"{root}/pools/{ledger.pool.digest}" in pool.dataset.source
    versions = client.search_model_versions(f"name = '{ledger.record['config']['register']['name']}'")
    assert len(versions) == models


def check_secrets(root: str) -> None:
    """Nothing that is stored as text holds the credentials."""
    storage, secret = open_storage(root), os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    texts = [key for key in storage.list() if key.endswith((".json", ".yaml", ".html"))]
    assert texts
    assert not any(secret in storage.read_bytes(key) for key in texts)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_run_on_s3_is_the_run_in_a_folder(
    finished_run: tuple[Path, dict[str, Any]],
    environment: dict[str, str],
    mlflow_server: str,
    s3_root: str,
    tmp_path: Path,
):
    """And the champion predicts in a process without Ray and without access to S3."""
    result = finish(s3_root, environment)
    check_same(*finished_run, s3_root, result)
    check_tracking(mlflow_server, s3_root)
    check_secrets(s3_root)
    assert result["report"] == f"{s3_root}/runs/tiny/report.html"
    assert open_storage(s3_root).folders() == ["pools", "runs"]
    photo = encode_png(np.full((48, 64, 3), 128, np.uint8))
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED, mlflow_server],
        input=photo,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr.decode()
    assert json.loads(loaded.stdout.splitlines()[-1]) == [[64, 48], False]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_server_that_fails_and_a_driver_that_dies_change_nothing(
    finished_run: tuple[Path, dict[str, Any]],
    environment: dict[str, str],
    mlflow_server: str,
    s3_server: str,
    s3_root: str,
):
    names = {"tracking__experiment": "disturbed", "register__name": "disturbed"}
    with disturbed(s3_server, environment) as (proxy, own):
        kill("annotate", 1, s3_root, own, **names)
        result = finish(s3_root, own, **names)  # takes the dead driver's lease over
        print(dict(proxy.counts))
    assert proxy.counts["requests"] > 200
    assert sum(proxy.counts.values()) - proxy.counts["requests"] >= 10
    assert proxy.counts["dropped"] >= 1
    check_same(*finished_run, s3_root, result)
    check_tracking(mlflow_server, s3_root)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_of_two_drivers_started_at_once_one_goes_on_and_the_other_says_who_has_the_run(
    finished_run: tuple[Path, dict[str, Any]], environment: dict[str, str], mlflow_server: str, s3_root: str
):
    names = {"tracking__experiment": "raced", "register__name": "raced"}
    command = tiny.command("active", s3_root, **names)
    with ThreadPoolExecutor(2) as pool:
        ends = list(
            pool.map(
                lambda _: subprocess.run(command, env=environment, capture_output=True, text=True, check=False),
                range(2),
            )
        )
    assert sorted(end.returncode for end in ends) == [0, 2], [end.stderr[-2000:] for end in ends]
    (refused,) = [end for end in ends if end.returncode == 2]
    (winner,) = [end for end in ends if end.returncode == 0]
    assert "run tiny is owned by process" in refused.stderr
    assert "Traceback" not in refused.stderr
    check_same(*finished_run, s3_root, json.loads(winner.stdout.strip().splitlines()[-1]))
    check_tracking(mlflow_server, s3_root)
