"""MLflow's credentials: with the driver alone, and in nothing that is written."""

import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
import tiny

from pipelines import parts, prepare, resources, tracking_server, train
from pipelines.console import Console
from pipelines.credentials import anonymous, hidden, holds_password, worker_env
from pipelines.storage import open_storage
from weakseg.errors import ConfigError

TOKEN = "word-of-nobody"
GIVEN = {
    "MLFLOW_TRACKING_TOKEN": TOKEN,
    "MLFLOW_TRACKING_PASSWORD": TOKEN,
    "MLFLOW_TRACKING_USERNAME": "somebody",
    "MLFLOW_TRACKING_URI": f"http://somebody:{TOKEN}@127.0.0.1:9",
    "DATABRICKS_TOKEN": TOKEN,
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)


def test_workers_see_blanks_in_place_of_credentials(given: None, monkeypatch: pytest.MonkeyPatch):
    assert worker_env() == {"env_vars": dict.fromkeys(sorted(GIVEN), "")}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the workers need it")
    assert set(worker_env()["env_vars"]) == set(GIVEN) - {"MLFLOW_TRACKING_URI"}
    for name in GIVEN:
        monkeypatch.delenv(name)
    assert worker_env() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://host/path: no", "http://host/path: no"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql://user:secret@host:5432/db and", "postgresql://user:***@host:5432/db and"),
        ("http://:p@ss:word@host, http://u:x@h", "http://:***@host, http://u:***@h"),
        ("2026-11-21 12:00:01 me@example.org", "2026-11-21 12:00:01 me@example.org"),
    ],
)
def test_passwords_in_addresses_are_hidden(text: str, expected: str):
    assert hidden(text) == expected
    assert holds_password(text) == (text != expected)


def test_values_of_secret_variables_are_hidden(given: None):
    assert hidden(f"Bearer {TOKEN}, somebody") == "Bearer ***, somebody"
    assert anonymous(GIVEN["MLFLOW_TRACKING_URI"]) == "http://127.0.0.1:9"


def test_a_configuration_with_a_password_is_refused_without_repeating_it(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        tiny.config(tmp_path, tracking__uri=f"http://me:{TOKEN}@host")
    assert str(caught.value).startswith("tracking.uri: expected an address without a password")
    assert TOKEN not in str(caught.value)
    assert tiny.config(tmp_path, tracking__uri="postgresql://me@host/db").tracking.uri


def test_a_server_that_does_not_answer_is_named_without_its_password(given: None, tmp_path: Path):
    (fault,) = tracking_server.faults(tiny.config(tmp_path), open_storage(tmp_path))
    assert fault.startswith("tracking.uri: http://somebody:***@127.0.0.1:9: no MLflow server answers")


@pytest.mark.ray
def test_actors_and_tasks_see_none_of_what_the_job_was_given(ray_session: str, tmp_path: Path):
    """As in a job: what a task has in its `env_vars`, all that it starts inherits."""

    class Spy:
        """A part worker that tells what its process knows."""

        def __call__(self, part: int) -> pa.Table:
            return pa.table({"known": [value for name, value in os.environ.items() if name in GIVEN]})

    @ray.remote(num_cpus=0, runtime_env={"env_vars": GIVEN})
    def driver(config: Any) -> dict[str, Any]:
        os.environ["MLFLOW_TRACKING_TOKEN"] = TOKEN  # the task itself has them all
        plain = ray.remote(num_cpus=0)(lambda: os.environ.get("MLFLOW_TRACKING_TOKEN"))
        tables = list(parts.over_parts(config, [0, 1], Spy, {}))
        return {
            "inherited": ray.get(plain.remote()),
            "blank": ray.get(plain.options(runtime_env=worker_env()).remote()),
            "actors": [value for table in tables for value in table["known"].to_pylist()],
        }

    seen = ray.get(driver.remote(tiny.config(tmp_path)))
    assert seen["inherited"] == TOKEN  # else the test shows nothing
    assert seen["blank"] == ""
    assert len(seen["actors"]) == 2 * len(GIVEN)
    assert set(seen["actors"]) == {""}


def test_prepare_and_training_ask_for_blanks(given: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked: dict[str, Any] = {}

    class Trainer:
        def __init__(self, work: object, **options: Any) -> None:
            asked["train"] = options["run_config"].worker_runtime_env

        def fit(self) -> Any:
            raise KeyError("fit")

    class Dataset:
        def map_batches(self, work: object, **options: Any) -> None:
            asked["prepare"] = options["runtime_env"]
            raise KeyError("map")

    monkeypatch.setattr(train, "TorchTrainer", Trainer)
    monkeypatch.setattr("ray.data.from_items", lambda items, **options: Dataset())
    config = tiny.config(tmp_path, cluster__gpu="false")
    with pytest.raises(KeyError, match="map"):
        prepare.run(config, open_storage(tmp_path), console=Console(file=io.StringIO()))
    with pytest.raises(KeyError, match="fit"):
        train._fit(config, {}, open_storage(tmp_path), "runs/x/train")
    assert asked == {"train": worker_env(), "prepare": worker_env()}


def test_connecting_blanks_them_for_the_whole_job(given: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(resources.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(resources.ray, "init", lambda **options: calls.append(options))
    monkeypatch.delenv("RAY_OVERRIDE_JOB_RUNTIME_ENV", raising=False)
    resources.connect(tiny.config(tmp_path))
    assert calls[0]["runtime_env"] == worker_env()
    assert os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1"
    monkeypatch.delenv("RAY_OVERRIDE_JOB_RUNTIME_ENV")
