"""An MLflow server as a team has one: runs in PostgreSQL, artefacts on S3, everything over HTTP."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.s3 import end, free_port, until_answers


@pytest.fixture(scope="session")
def mlflow_server(postgres: str, s3_server: str, bucket: str) -> Iterator[str]:
    """The server's address. Its clients need no access to the artefact store: it passes files on."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", postgres, "--artifacts-destination", f"s3://{bucket}/weakseg-test/mlflow"]
    with tempfile.TemporaryDirectory(prefix="weakseg-mlflow-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, *stores],
                cwd=folder,
                env={**os.environ, "MLFLOW_S3_ENDPOINT_URL": s3_server},
                stdout=out,
                stderr=out,
            )
        try:
            until_answers(f"http://127.0.0.1:{port}/health", process, seconds=120, log=log.read_text)
            yield f"http://127.0.0.1:{port}"
        finally:
            end(process)
