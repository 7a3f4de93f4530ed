import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
import stored_run
from mlflow.tracking import MlflowClient
from safetensors.torch import load as load_weights

from pipelines.serving import parity, registered
from weakseg.codec import decode_image
from weakseg.errors import ResourceError
from weakseg.inference import predict
from weakseg.models import load
from weakseg.prediction import View


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    return stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)[0]


def uri(root: Path) -> str:
    return f"sqlite:///{root}/mlflow.db"


def test_a_versions_files_without_running_its_code(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda *_, **__: pytest.fail("its code would run"))
    found = registered.fetch("models:/scenes@champion", uri(root))
    with stored_run.opened(root) as (plan, ledger):
        assert found.weights == ledger.read_bytes("rounds/001/model.safetensors")
        assert found.classes.names == ledger.pool.classes.names
        assert found.classes.colors == ledger.pool.classes.colors
        images = list(parity.sample(ledger.pool).values())
        expected = parity.masks(found.spec, found.weights, images, parity.threads(plan))
    assert found.view == View(size=stored_run.SIZE, temperature=2.0)
    assert (found.name, found.version, found.threads) == ("scenes", 1, 1)
    assert found.address == "models:/scenes/1"
    assert registered.fetch(found.address, uri(root)) == found
    model = load(found.spec, load_weights(found.weights)).eval()
    for given, mask in zip(predict(model, map(decode_image, images)), expected, strict=True):
        assert (given == mask).all()


def test_the_processs_own_store_is_its_own_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere.db")
    registered.fetch("models:/scenes/1", uri(root))
    assert mlflow.get_tracking_uri() == "sqlite:////elsewhere.db"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("scenes", "expected models:/NAME@ALIAS"),
        ("models:/scenes", "expected models:/NAME@ALIAS"),
        ("models:/scenes/latest", "expected models:/NAME@ALIAS"),
        ("models:/none@champion", "none"),
        ("models:/scenes@none", "none"),
        ("models:/scenes/9", "scenes"),
    ],
)
def test_what_there_is_not_is_told_in_one_line(root: Path, address: str, told: str) -> None:
    with pytest.raises(ResourceError, match=told) as refused:
        registered.fetch(address, uri(root))
    assert address in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_model_of_somebody_else_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(uri(tmp_path))
    client.create_registered_model("foreign")
    folder = tmp_path / "model"
    shutil.copytree(stored_run.stored_model(root), folder)
    text = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(text.replace("description:", "depiction:", 1))
    client.create_model_version("foreign", str(folder))
    with pytest.raises(ResourceError, match="not registered by weakseg: it has no description"):
        registered.fetch("models:/foreign/1", uri(tmp_path))


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"])
def test_files_on_s3_that_cannot_be_had_are_told_in_one_line(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str | None
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    if endpoint:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    client = MlflowClient(mlflow_uri)
    client.create_registered_model("away")
    client.create_model_version("away", "s3://bucket/model")
    told = "Could not connect to the endpoint" if endpoint else "Unable to locate credentials"
    with pytest.raises(ResourceError, match=told) as refused:
        registered.fetch("models:/away/1", mlflow_uri)
    assert len(str(refused.value).splitlines()) == 1


def test_a_fault_of_our_own_is_none_of_the_stores(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered, "MlflowClient", lambda uri: {}["nothing"])
    with pytest.raises(KeyError):
        registered.fetch("models:/scenes/1", uri(root))


class TestStoreOf:
    def test_the_option_then_the_environment_then_the_folder(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
        assert registered.store_of(uri(root)) == uri(root)
        assert registered.store_of(None) == "http://server"
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        with pytest.raises(ResourceError, match="--tracking-uri"):
            registered.store_of(None)
        (tmp_path / "weakseg-data").mkdir()
        (tmp_path / "weakseg-data" / "mlflow.db").touch()
        assert registered.store_of(None) == f"sqlite:///{tmp_path}/weakseg-data/mlflow.db"

    def test_no_database_is_made_where_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(ResourceError, match="no file"):
            registered.store_of(uri(tmp_path))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("password", ["secret", "se@cret"])
def test_a_password_is_not_told(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    def refused(*_: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(registered, "MlflowClient", refused)
    with pytest.raises(ResourceError, match="gone") as error:
        registered.fetch("models:/a/1", f"http://user:{password}@server")
    assert "cret" not in str(error.value)
