from pathlib import Path

import pytest

from pipelines.config import Config, load
from pipelines.storage import open_storage
from pipelines.tracking_uri import as_uri, tracking_uri
from weakseg.errors import ResourceError


def configured(root: Path | str, *overrides: str) -> Config:
    return load("demo", [f"storage.root={root}", *overrides])


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(tmp_path / "root")
    config = configured(tmp_path / "root")
    assert tracking_uri(config, storage) == f"sqlite:///{tmp_path}/root/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(config, storage) == "http://server:5000"
    monkeypatch.chdir(tmp_path)
    named = configured(tmp_path / "root", "tracking.uri=sqlite:///mine.db")
    assert tracking_uri(named, storage) == f"sqlite:///{tmp_path}/mine.db"


@pytest.mark.s3
def test_a_root_on_s3_wants_a_server(s3_root: str) -> None:
    with pytest.raises(
        ResourceError, match=r"^tracking\.uri: MLflow's database cannot lie on S3 .*MLFLOW_TRACKING_URI"
    ):
        tracking_uri(configured(s3_root), open_storage(s3_root))


@pytest.mark.parametrize("uri", ["./mlruns", "/tmp/mlruns", "file:///tmp/mlruns"])
def test_folders_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ResourceError, match="no runs in folders"):
        tracking_uri(configured(tmp_path, f"tracking.uri={uri}"), open_storage(tmp_path))


def test_files_are_addressed_as_mlflow_wants_it(tmp_path: Path) -> None:
    assert as_uri(f"{tmp_path}/a b") == f"file://{tmp_path}/a%20b"
    assert as_uri("s3://bucket/a") == "s3://bucket/a"
