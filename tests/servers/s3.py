"""An S3 server for the session: moto's, or the one that WEAKSEG_S3_ENDPOINT names."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[tuple[str, socket.socket | None]]:
    """The variables by which everything that the session starts finds the S3 server, before that server is started.

    Ray's workers inherit their environment when Ray starts, hence apart from :func:`s3_server`.
    """
    endpoint = os.environ.get("WEAKSEG_S3_ENDPOINT")
    if endpoint:
        with environment(AWS_ENDPOINT_URL_S3=endpoint):
            yield endpoint, None
        return
    with socket.socket() as holder:
        # Bound until the server itself binds it, so that nothing else gets this port.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{holder.getsockname()[1]}"
        with environment(
            AWS_ENDPOINT_URL_S3=endpoint,
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing-secret",
            AWS_REGION="us-east-1",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        ):
            yield endpoint, holder


@pytest.fixture(scope="session")
def s3_server(s3_environment: tuple[str, socket.socket | None]) -> Iterator[str]:
    """The address of an S3 server that answers; :func:`bucket` makes a bucket on it."""
    endpoint, holder = s3_environment
    if holder is None:
        if not (os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE")):
            pytest.skip("WEAKSEG_S3_ENDPOINT is set, but no credentials (AWS_ACCESS_KEY_ID)")
        yield endpoint
        return
    server = Path(__file__).with_name("moto_atomic.py")
    command = [sys.executable, str(server), str(holder.getsockname()[1])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_answers(f"{endpoint}/moto-api/", process)
        yield endpoint
    finally:
        end(process)


@pytest.fixture(scope="session")
def bucket(s3_server: str) -> Iterator[str]:
    """A bucket for the session; on a server of one's own it is deleted in the end (WEAKSEG_S3_BUCKET is kept)."""
    from pipelines import s3

    given = os.environ.get("WEAKSEG_S3_BUCKET")
    name = given or f"weakseg-test-{secrets.token_hex(4)}"
    if not given:
        s3.client().create_bucket(Bucket=name)
    yield name
    if os.environ.get("WEAKSEG_S3_ENDPOINT"):
        for page in s3.pages(name, "weakseg-test/"):
            for entry in page.get("Contents", []):
                s3.client().delete_object(Bucket=name, Key=entry["Key"])
        if not given:
            s3.client().delete_bucket(Bucket=name)


@pytest.fixture
def s3_root(bucket: str) -> str:
    """An address on the server that no other test uses: ``s3://bucket/prefix``."""
    return f"s3://{bucket}/weakseg-test/{secrets.token_hex(6)}"


def free_port() -> int:
    """A port on the loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until_answers(url: str, process: subprocess.Popen, *, seconds: float = 60, log: Callable[[], str] = str) -> None:
    """Wait until a server answers over HTTP, whatever it says.

    Args:
        url: What to ask for.
        process: The server's.
        seconds: How long to wait.
        log: What the server has said, for the error.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no server at {url} (exit code {process.poll()}): {log()}") from None
            time.sleep(0.1)


def end(process: subprocess.Popen) -> None:
    """Stop a server that a fixture started."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
