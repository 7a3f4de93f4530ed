import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import tiny
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


def test_what_is_no_address_is_one_line(storage: Storage, tmp_path: Path):
    asked = tiny.config(tmp_path, tracking__uri="http://[server")
    assert fault(asked, storage).startswith("tracking.uri: http://[server: no address (Invalid IPv6 URL); expected one")


def test_databricks_is_no_folder(monkeypatch: pytest.MonkeyPatch, storage: Storage, tmp_path: Path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    assert not list(tracking_server.faults(tiny.config(tmp_path), storage))


TLS = ("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and its self-signed certificate for this machine: a server's, its CA's and a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weakseg's tests")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "own.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + signed.public_bytes(pem))
    return file


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], str]]:
    """Starts what looks like a tracking server behind TLS, by whether it wants a client's certificate."""
    for name in (*TLS, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    started = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    def start(wants_certificate: bool) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # which says during the handshake what it misses
        context.load_cert_chain(certificate)
        if wants_certificate:
            context.load_verify_locations(certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        http = HTTPServer(("127.0.0.1", 0), Handler)
        http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        started.append(http)
        return f"https://127.0.0.1:{http.server_port}"

    yield start
    for http in started:
        http.shutdown()
        http.server_close()


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"])
def test_a_server_of_an_own_ca_passes_once_that_is_named(
    secure: Callable[[bool], str], certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    uri = secure(False)
    with pytest.raises(ResourceError, match=r"no TLS with the server \(.*self.signed") as told:
        tracking_server.check(uri)
    assert "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of its CA" in str(told.value)
    assert "\n" not in str(told.value)
    monkeypatch.setenv(name, str(certificate))
    tracking_server.check(uri)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_server_passes_unverified_where_that_is_wanted(
    secure: Callable[[bool], str], certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    uri = secure(False)
    tracking_server.check(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    with pytest.raises(ResourceError, match="MLFLOW_TRACKING_INSECURE_TLS"):  # MLflow takes one of them
        tracking_server.check(uri)


def test_a_server_that_wants_a_certificate_gets_it(
    secure: Callable[[bool], str], certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    uri = secure(True)
    with pytest.raises(ResourceError, match=r"no TLS with the server .* MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        tracking_server.check(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificate))
    tracking_server.check(uri)


@pytest.mark.parametrize("name", TLS[1:])
def test_a_file_that_is_no_certificate_is_told(
    secure: Callable[[bool], str], certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
):
    uri = secure(False)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    monkeypatch.setenv(name, str(tmp_path / "own.pem"))
    with pytest.raises(ResourceError, match=f"no TLS with the server .*/own.pem.*{name}"):
        tracking_server.check(uri)
    (tmp_path / "own.pem").write_text("a text")
    with pytest.raises(ResourceError, match=f"no TLS with the server .*{name}"):
        tracking_server.check(uri)
