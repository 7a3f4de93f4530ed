from pathlib import Path

import pytest
import tiny

from pipelines import tracking_server
from pipelines.config import Config
from pipelines.storage import Storage, open_storage
from weakseg.errors import ResourceError


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def fault(config: Config, storage: Storage) -> str:
    (found,) = tracking_server.faults(config, storage)
    return found


def test_a_server_that_answers_passes_others_are_told(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, server: tuple[str, list[int]], tmp_path: Path
):
    uri, answers = server
    asked = tiny.config(tmp_path, tracking__uri=f"{uri}/")
    assert not list(tracking_server.faults(asked, storage))
    answers[0] = 401
    assert not list(tracking_server.faults(asked, storage))
    answers[0] = 503
    assert "answers with 503" in fault(asked, storage)
    with pytest.raises(ResourceError, match="answers with 503"):
        tracking_server.check(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert fault(tiny.config(tmp_path), storage).startswith(
        "tracking.uri: http://127.0.0.1:9: no MLflow server answers"
    )


def test_a_database_wants_its_folder(storage: Storage, tmp_path: Path):
    there, away = (
        tiny.config(tmp_path, tracking__uri=f"sqlite:///{folder}/mlflow.db") for folder in (tmp_path, tmp_path / "no")
    )
    assert not list(tracking_server.faults(there, storage))
    assert "does not exist" in fault(away, storage)


def test_credentials_that_the_server_does_not_know_are_refused(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, server: tuple[str, list[int]], tmp_path: Path
):
    asked = tiny.config(tmp_path, tracking__uri=server[0])
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "right")
    assert not list(tracking_server.faults(asked, storage))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "word-of-nobody")
    text = fault(asked, storage)
    assert text.startswith(f"tracking.uri: {server[0]}: the server refuses this user (401: You are not authenticated)")
    assert "word-of-nobody" not in text
    assert "\n" not in text


def test_databricks_is_no_folder(monkeypatch: pytest.MonkeyPatch, storage: Storage, tmp_path: Path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    assert not list(tracking_server.faults(tiny.config(tmp_path), storage))
