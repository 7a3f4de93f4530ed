"""Whether a tracking store answers, asked before anything is spent."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.config import Config
from pipelines.credentials import anonymous, hidden
from pipelines.storage import Storage
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
        # Here, because it brings MLflow.
        from pipelines.tracking import no_database

        yield f"tracking.uri: {no_database(storage)}"


def _uri_faults(uri: str, *, timeout: float) -> Iterator[str]:
    named = f"tracking.uri: {hidden(uri)}"
    scheme = urlsplit(uri).scheme
    if uri == "databricks":
        return  # MLflow finds the rest in its own settings
    if scheme in ("", "file"):
        yield f"{named}: MLflow keeps no runs in folders any more; use sqlite:////path/to/mlflow.db or http://server"
    elif scheme == "sqlite":
        folder = Path(uri.removeprefix("sqlite:///")).parent
        if not folder.is_dir():
            yield f"{named}: the folder {folder} does not exist"
    elif scheme in ("http", "https"):
        try:
            with urllib.request.urlopen(f"{anonymous(uri).rstrip('/')}/health", timeout=timeout):
                pass
        except urllib.error.HTTPError as error:
            if error.code not in (401, 403, 404):  # it answers
                yield f"{named}: the server answers with {error.code} {error.reason}"
        except (OSError, ValueError) as error:
            reason = hidden(str(getattr(error, "reason", None) or error))
            yield f"{named}: no MLflow server answers ({reason}); start it, or remove the address for a local file"
            return
        if refusal := _refusal(uri, timeout):
            yield (
                f"{named}: the server refuses this user ({hidden(refusal)}); set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, right"
            )


def _refusal(uri: str, timeout: float) -> str | None:
    """What a server answers to a question asked with this driver's credentials, if it refuses it; None if not."""
    # Here, because they bring MLflow.
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        reply = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "POST",
            json={"max_results": 1},
            max_retries=0,
            timeout=timeout,
            raise_on_status=False,
        )
    except MlflowException:
        return None  # what passes is MLflow's own to try again
    return f"{reply.status_code}: {' '.join(reply.text.split())[:200]}" if reply.status_code in (401, 403) else None
