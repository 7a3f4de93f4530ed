"""Whether a tracking store answers, asked before anything is spent."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.config import Config
from pipelines.credentials import hidden
from pipelines.storage import Storage
from pipelines.tracking_uri import no_database
from weakseg.errors import ResourceError


def check(uri: str) -> None:
    """Refuse a tracking store that does not answer, before MLflow tries again and again.

    Raises:
        ResourceError: In one line.
    """
    for fault in _uri_faults(uri, timeout=5.0):
        raise ResourceError(fault)


def faults(config: Config, storage: Storage, *, timeout: float = 5.0) -> Iterator[str]:
    """Whether the tracking server that a plan names answers: one line where it does not."""
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        yield from _uri_faults(uri, timeout=timeout)
    elif not storage.is_local:
        yield f"tracking.uri: {no_database(storage)}"


def _uri_faults(uri: str, *, timeout: float) -> Iterator[str]:
    named = f"tracking.uri: {hidden(uri)}"
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:
        yield f"{named}: no address ({error}); expected one such as http://server:5000 or sqlite:////path/to/mlflow.db"
        return
    if uri == "databricks":
        return  # MLflow finds the rest in its own settings
    if scheme in ("", "file"):
        yield f"{named}: MLflow keeps no runs in folders any more; use sqlite:////path/to/mlflow.db or http://server"
    elif scheme == "sqlite":
        folder = Path(uri.removeprefix("sqlite:///")).parent
        if not folder.is_dir():
            yield f"{named}: the folder {folder} does not exist"
    elif scheme in ("http", "https"):
        if fault := _server_fault(uri, timeout):
            yield f"{named}: {hidden(fault)}"


def _server_fault(uri: str, timeout: float) -> str | None:
    """Why a server cannot be used, asked as MLflow will: with this driver's certificates and credentials."""
    # Here, because they bring MLflow.
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        credentials = get_default_host_creds(uri)
    except MlflowException as error:  # variables that exclude each other
        return " ".join(str(error).split())
    ask = partial(http_request, credentials, max_retries=0, timeout=timeout, raise_on_status=False)
    try:
        reply = ask("/health", "GET")
    except MlflowException as error:
        return _silence(error)
    if reply.status_code >= 400 and reply.status_code not in (401, 403, 404):  # these it answers
        return f"the server answers with {reply.status_code} {reply.reason}"
    try:
        reply = ask("/api/2.0/mlflow/experiments/search", "POST", json={"max_results": 1})
    except MlflowException:
        return None  # what passes is MLflow's own to try again
    if reply.status_code not in (401, 403):
        return None
    refusal = f"{reply.status_code}: {' '.join(reply.text.split())[:200]}"
    return (
        f"the server refuses this user ({refusal}); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
        "or MLFLOW_TRACKING_TOKEN, right"
    )


def _silence(error: BaseException) -> str:
    """Why a server gives no answer, from what MLflow makes of it."""
    from requests.exceptions import SSLError  # here, because MLflow brings it

    chain = [error]
    while below := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(below)
    reason = " ".join(str(chain[-1]).split())
    if "TLS" in reason or any(isinstance(one, SSLError) for one in chain):
        return (
            f"no TLS with the server ({reason}); set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of its CA, and where "
            "it wants a certificate of yours MLFLOW_TRACKING_CLIENT_CERT_PATH"
        )
    return f"no MLflow server answers ({reason}); start it, or remove the address for a local file"
