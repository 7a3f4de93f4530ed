"""A registered model as this pipeline uses it: fetched once by the driver, then shipped to actors as bytes.

Nothing of MLflow or its credentials reaches the actors, and the code that travels with the model is not run: weights,
spec and description are read by this installation's `weakseg`.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from pipelines.credentials import anonymous, hidden
from weakseg.datasets import Classes
from weakseg.errors import ResourceError
from weakseg.prediction import View

_ADDRESS = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@:]+)|/(?P<version>\d+))")
_STORES = ("botocore", "boto3", "google", "azure")
"""Packages by which MLflow reaches artifacts and whose errors it passes on; none is imported to name them."""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: The registered model.
        version: Its number.
        spec: The model's `spec`.
        weights: Its safetensors file.
        classes: What the mask's indices mean.
        view: How it sees images.
        threads: Of torch on a CPU, with which it was checked when it was registered.
    """

    name: str
    version: int
    spec: dict[str, Any]
    weights: bytes
    classes: Classes
    view: View
    threads: int

    @property
    def address(self) -> str:
        """Its address without an alias, which may move."""
        return f"models:/{self.name}/{self.version}"


def fetch(address: str, uri: str) -> Registered:
    """Download a version's files.

    Args:
        address: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        uri: The tracking server or database.

    Raises:
        ResourceError: One line: not an address, no such model, alias or version, no answer, not a model of ours.
    """
    asked = _ADDRESS.fullmatch(address)
    if asked is None:
        raise ResourceError(f"--model: expected models:/NAME@ALIAS or models:/NAME/VERSION, got {address}")
    name, alias = asked["name"], asked["alias"]
    with _answers(address, uri), _store(uri):
        client = MlflowClient(uri)
        found = (
            client.get_model_version_by_alias(name, alias)
            if alias
            else client.get_model_version(name, asked["version"])
        )
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(f"models:/{name}/{found.version}", dst_path=folder)
            return _read(Path(path), name, int(found.version))


def store_of(uri: str | None) -> str:
    """The tracking store: as given, else MLFLOW_TRACKING_URI, else the database of a run in the current folder.

    Raises:
        ResourceError: There is none.
    """
    given = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        file = unquote(given.removeprefix("sqlite:///").partition("?")[0])
        if given.startswith("sqlite:///") and not Path(file).is_file():  # MLflow would make an empty one
            raise ResourceError(f"no tracking store: {given} is no file; name the mlflow.db of a run")
        return given
    database = Path("weakseg-data", "mlflow.db").absolute()
    if database.is_file():
        return f"sqlite:///{database}"
    raise ResourceError(
        "no tracking store: give --tracking-uri http://server (or sqlite:////path/to/weakseg-data/mlflow.db), "
        "or export MLFLOW_TRACKING_URI"
    )


def _read(folder: Path, name: str, version: int) -> Registered:
    flavor = (Model.load(str(folder)).flavors or {}).get("python_function", {})
    files = {key: folder / value["path"] for key, value in (flavor.get("artifacts") or {}).items()}
    missing = [key for key in ("weights", "description", "classes") if key not in files or not files[key].is_file()]
    if missing:
        raise ResourceError(
            f"--model: models:/{name}/{version} was not registered by weakseg: it has no {', '.join(missing)}"
        )
    description = json.loads(files["description"].read_text(encoding="utf-8"))
    return Registered(
        name=name,
        version=version,
        spec=description["model"],
        weights=files["weights"].read_bytes(),
        classes=Classes.from_yaml(files["classes"]),
        view=View.of(description),
        threads=int((flavor.get("config") or {}).get("threads") or 1),
    )


@contextmanager
def _answers(address: str, uri: str) -> Iterator[None]:
    """MLflow's errors, and those of whatever holds the artifacts, as one line."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if not isinstance(error, MlflowException | OSError) and package not in _STORES:
            raise
        reason = (hidden(str(error)).strip() or type(error).__name__).splitlines()[0]
        raise ResourceError(f"--model: {address} cannot be had from {anonymous(uri)}: {reason}") from error


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """Addresses `models:/...` are looked up in MLflow's one store of the process: ours for a while."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        # Sets the variable too, and with None deletes it.
        mlflow.set_tracking_uri(before)
