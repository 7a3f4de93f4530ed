"""Where MLflow's tracking store is, and addresses as MLflow wants them."""

import os
import re
from pathlib import Path

from pipelines.config import Config
from pipelines.storage import Storage
from weakseg.errors import ResourceError


def tracking_uri(config: Config, storage: Storage) -> str:
    """The store: `tracking.uri`, else MLFLOW_TRACKING_URI, else the database below the storage's root.

    Raises:
        ResourceError: If it is a folder, which MLflow no longer writes, or none is named and the root is on S3.
    """
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        if not storage.is_local:
            raise ResourceError(f"tracking.uri: {no_database(storage)}")
        # Of the path's characters only these two mean something else in a database's address.
        path = storage.address("mlflow.db").replace("%", "%25").replace("?", "%3F")
        return f"sqlite:///{path}"
    if ("://" not in uri and uri != "databricks") or uri.startswith("file:"):
        raise ResourceError(
            f"tracking.uri: {uri} is a folder, and MLflow keeps no runs in folders any more; "
            "use sqlite:////path/to/mlflow.db or http://server"
        )
    relative = re.fullmatch(r"sqlite:///([^/].*)", uri)
    # Made absolute, so that a rerun from another folder opens the same one.
    return f"sqlite:///{Path(relative[1]).absolute()}" if relative and relative[1] != ":memory:" else uri


def no_database(storage: Storage) -> str:
    """Why there is no tracking store by default where the root is on S3, and what to do."""
    return (
        f"MLflow's database cannot lie on S3 ({storage.root}); "
        "set tracking.uri or MLFLOW_TRACKING_URI to a server: http://server:5000"
    )


def as_uri(address: str) -> str:
    """A storage's address as MLflow wants it: paths as file:// addresses."""
    return address if "://" in address else Path(address).as_uri()
