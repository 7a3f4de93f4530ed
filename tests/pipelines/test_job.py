"""Runs submitted as a user submits them, from a clean checkout to a real head with dashboard and token."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import pytest
import tiny
import yaml
from mlflow.tracking import MlflowClient
from servers.ray_head import Head, ray_head

from pipelines.ledger import Ledger
from pipelines.ledger.lease import read_owner
from pipelines.storage import Storage, open_storage

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
SECRET = "word-of-nobody"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without anything that this checkout does not track."""
    folder = tmp_path_factory.mktemp("clone") / "weakseg"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True, stdin=subprocess.DEVNULL)
    return folder


@dataclass(frozen=True)
class Place:
    """Where a submitted run keeps its things.

    Attributes:
        root: `storage.root`.
        tracking: MLFLOW_TRACKING_URI as the job gets it; None leaves the database below the root.
        node: What the cluster's nodes have in their environment.
    """

    root: str
    tracking: str | None = None
    node: Mapping[str, str] = field(default_factory=dict)

    @property
    def storage(self) -> Storage:
        return open_storage(self.root)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.tracking or f"sqlite:///{self.root}/mlflow.db")

    @property
    def model(self) -> str:
        """The registered model's name, on a server that other tests use too."""
        return f"tiny-{PurePosixPath(self.root).name}"


@pytest.fixture
def in_folder(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "shared"))


@pytest.fixture
def on_servers(request: pytest.FixtureRequest) -> Place:
    """A bucket on S3, and MLflow on PostgreSQL with its files on S3."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
    root, uri = request.getfixturevalue("s3_root"), request.getfixturevalue("mlflow_server")
    return Place(root, uri, {name: os.environ[name] for name in names if name in os.environ})


@pytest.fixture
def head(request: pytest.FixtureRequest) -> Iterator[Head]:
    """A head whose nodes have what the test's place needs."""
    place = request.getfixturevalue("on_servers" if "on_servers" in request.fixturenames else "in_folder")
    with ray_head(environment=place.node) as running:
        yield running


def submit(
    head: Head, checkout: Path, place: Place, job: str, *, token: str | None = None, **changes: str
) -> "subprocess.Popen[str]":
    """`ray job submit` as the README has it, of a tiny run; gives the submitting process."""
    runtime_env = yaml.safe_load((checkout / "pipelines/runtime_env.yaml").read_text())
    runtime_env["env_vars"] |= {"MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_USERNAME": "somebody"}
    if place.tracking:
        runtime_env["env_vars"]["MLFLOW_TRACKING_URI"] = place.tracking
    file = checkout.parent / f"{job}.yaml"
    file.write_text(yaml.safe_dump(runtime_env))
    settings = [part for override in tiny.overrides(Path("x"), **changes) for part in ("--set", override)]
    settings += ["--set", f"storage.root={place.root}", "--set", f"register.name={place.model}"]
    return head.ray(
        *("job", "submit", "--submission-id", job, "--working-dir", ".", "--runtime-env", str(file)),
        *("--entrypoint-resources", '{"driver": 1}', "--"),
        *("env", "WEAKSEG_GIT_SHA=clean", "python", "-m", "pipelines", "active", "--config", "demo", "--json"),
        *settings,
        token=token,
        folder=checkout,
    )


def finished(process: "subprocess.Popen[str]") -> str:
    """What a submitting process printed, the job's log in it."""
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said[-6000:]
    return said


def result(said: str) -> dict[str, Any]:
    (line,) = [line for line in said.splitlines() if line.startswith('{"run"')]
    return json.loads(line)


def check_log(said: str) -> None:
    """Every line of ours names the run; stages come one to a line, and nothing of the engines is among them."""
    lines = said[said.index("Running entrypoint") :].splitlines()
    ours = [line for line in lines if line.startswith("tiny: ")]
    assert any(re.fullmatch(r"tiny: prepare: \d+/\d+ in .*", line) for line in ours)
    assert any(re.fullmatch(r"tiny: round 0: train: 2/2 in .*", line) for line in ours)
    assert not [line for line in lines if "warning" in line.lower() or "Traceback" in line], lines
    assert SECRET not in "\n".join(lines)


def statuses(place: Place) -> dict[str, str]:
    client, key = place.client, Ledger.read(place.storage, "tiny").id
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`weakseg.key` LIKE '{key}%'")
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run.info.status for run in runs}


@pytest.mark.s3
@pytest.mark.timeout(600)
def test_a_job_from_a_clean_checkout_runs_to_the_end_on_s3_and_only_with_the_token(
    head: Head, checkout: Path, on_servers: Place
):
    refused = submit(head, checkout, on_servers, "stranger", token="")
    done = submit(head, checkout, on_servers, "tiny", labelling__rounds="1")
    said, _ = refused.communicate(timeout=300)
    assert refused.returncode != 0
    assert "Authentication required" in said
    said = finished(done)
    check_log(said)
    assert result(said)["model"]["alias"] == "champion"
    assert statuses(on_servers) == {"tiny": "FINISHED", "tiny/0": "FINISHED"}
    version = on_servers.client.get_model_version(on_servers.model, "1")
    assert version.tags["git_sha"] == "clean"  # it ran from what was uploaded, not from a checkout of the node's
    assert read_owner(on_servers.storage, "tiny") is None
    check_champion(on_servers)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_stopped_job_gives_its_run_back_and_goes_on_when_submitted_again(
    head: Head, checkout: Path, in_folder: Place
):
    stop_and_go_on(head, checkout, in_folder)


@pytest.mark.long
@pytest.mark.s3
@pytest.mark.timeout(1800)
def test_on_s3_and_a_tracking_server_the_champion_predicts_without_ray(head: Head, checkout: Path, on_servers: Place):
    stop_and_go_on(head, checkout, on_servers)
    check_champion(on_servers)


def check_champion(place: Place) -> None:
    """The registered champion is read back and predicts in a process that has no Ray."""
    code = (
        "import sys, mlflow, pandas as pd\n"
        "from weakseg.datasets import open_layout\n"
        "import io\n"
        "from PIL import Image\n"
        "photo = io.BytesIO(); Image.new('RGB', (64, 48), 'green').save(photo, 'PNG')\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "mask = model.predict(pd.DataFrame({'image': [photo.getvalue()]}))['mask'][0]\n"
        "print(Image.open(io.BytesIO(mask)).size, 'ray' in sys.modules)\n"
    )
    read = subprocess.run(
        [sys.executable, "-c", code, f"models:/{place.model}@champion"],
        env={**os.environ, "MLFLOW_TRACKING_URI": str(place.tracking)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    assert read.stdout.split("\n")[-2] == "(64, 48) False"


def stop_and_go_on(head: Head, checkout: Path, place: Place) -> None:
    """Submit, stop during training of round 1, submit again: nothing that was finished is done again."""
    with worker_environments() as seen:
        first = submit(head, checkout, place, "first", training__epochs="6")
        storage = place.storage
        until(lambda: storage.exists("runs/tiny/rounds/001/labels.parquet"), first)
        until(lambda: storage.list("runs/tiny/rounds/001/train"), first)
        stopped, _ = head.ray("job", "stop", "first").communicate(timeout=120)
        said, _ = first.communicate(timeout=120)
    assert "tiny: stopped by SIGTERM; what is finished is kept" in said, (stopped, said[-4000:])
    assert {"RayTrainWorker", "MapWorker", "MapBatches"} <= set(seen), seen
    assert all(value == "" for values in seen.values() for value in values), seen
    assert read_owner(storage, "tiny") is None
    assert statuses(place) == {"tiny": "KILLED", "tiny/0": "FINISHED", "tiny/1": "KILLED"}
    before = kept(storage)
    said = finished(submit(head, checkout, place, "second", training__epochs="6"))
    assert result(said)["reason"] == "all rounds are done"
    assert "tiny: round 0: done before" in said
    assert "prepare:" not in said
    assert {key: data for key, data in kept(storage).items() if key in before} == before
    assert statuses(place) == {"tiny": "FINISHED", "tiny/0": "FINISHED", "tiny/1": "FINISHED"}
    assert SECRET not in json.dumps(Ledger.read(storage, "tiny").record)


def kept(storage: Storage) -> dict[str, bytes]:
    """What of the run must not change any more, by key."""
    finished = [key for key in storage.list("runs/tiny/rounds/000") if "/train/" not in key]
    asked = [f"runs/tiny/rounds/001/{name}.parquet" for name in ("queries", "labels")]
    return {key: storage.read_bytes(key) for key in [*finished, *asked]}


def until(true: Any, job: "subprocess.Popen[str]") -> None:
    """Wait for something that a job does."""
    deadline = time.monotonic() + 600
    while not true():
        assert job.poll() is None, job.communicate()[0][-6000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)


class worker_environments:
    """While the block lasts, what Ray's workers of a job have as MLFLOW_TRACKING_PASSWORD, by what they are."""

    def __enter__(self) -> dict[str, set[str]]:
        self._over, self._seen = threading.Event(), {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self._seen

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for process in psutil.process_iter():
                try:
                    title, environment = process.cmdline()[:1], process.environ()
                except (psutil.Error, OSError):
                    continue
                # The supervisor starts the driver and has what is the driver's; at first it goes by its actor's name.
                found = re.match(
                    r"ray::(?!_StatsActor|JobSupervisor|_ray_internal_job_actor|IDLE)(\w+)", title[0] if title else ""
                )
                if found and environment.get("MLFLOW_TRACKING_USERNAME") is not None:
                    self._seen.setdefault(found[1], set()).add(environment["MLFLOW_TRACKING_PASSWORD"])
