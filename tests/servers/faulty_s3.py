"""A proxy in front of an S3 server that makes of its replies what networks and overloaded servers make of them."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

ERRORS = {"error_500": (500, "InternalError"), "error_503": (503, "ServiceUnavailable"), "slow_down": (503, "SlowDown")}
FAULTS = (*ERRORS, "reset", "stall", "dropped", "broken")
"""Refused without being forwarded (three kinds), connection reset before, two seconds of silence, reply dropped
after the request was forwarded and done, reply cut short."""

_HOP = {"connection", "transfer-encoding", "keep-alive"}


class FaultyS3(ThreadingHTTPServer):
    """The proxy; :func:`faulty` starts one.

    Every request is forwarded as it came, its Host header included: that is part of what clients sign.

    Args:
        upstream: The server's address.
        rate: Share of requests that meet a fault.
        seed: Of the draws: which requests (in their order of arrival) meet which fault.
        faults: The kinds to draw from.

    Attributes:
        counts: How many faults of each kind there were; `requests` = all requests.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        upstream: str,
        *,
        rate: float = 0.05,
        seed: int = 0,
        faults: tuple[str, ...] = FAULTS,
        stall_seconds: float = 2.0,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.rate, self.faults, self.stall_seconds = urlsplit(upstream), rate, faults, stall_seconds
        self.counts: Counter[str] = Counter()
        self._rng, self._lock = random.Random(seed), threading.Lock()

    @property
    def url(self) -> str:
        """The proxy's own address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self) -> str | None:
        """What befalls the next request."""
        with self._lock:
            fault = self._rng.choice(self.faults) if self._rng.random() < self.rate else None
            self.counts["requests"] += 1
            if fault:
                self.counts[fault] += 1
            return fault

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that went away are what this is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def do_any(self) -> None:
        fault = self.server.draw()
        body = self._body()
        if fault in ERRORS:
            status, name = ERRORS[fault]
            self._answer(status, [("Content-Type", "application/xml")], _error(name))
            return
        if fault == "reset":
            self._reset()
            return
        if fault == "stall":
            time.sleep(self.server.stall_seconds)
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"expect", "content-length"}:
                    connection.putheader(name, value)
            if body or self.command in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        if fault == "dropped":
            self._reset()
            return
        headers = [(name, value) for name, value in reply.getheaders() if name.lower() not in _HOP]
        self._answer(reply.status, headers, content, cut=fault == "broken" and bool(content))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        # To HEAD the length stands for a body that does not come.
        length = dict((name.lower(), value) for name, value in headers).get("content-length", str(len(content)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self._reset()
            return
        self.wfile.write(content)

    def _reset(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        # No goodbye: what a client sees when a machine on the way is gone.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def _error(name: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{name}</Code><Message>Try again.</Message></Error>".encode()


@contextmanager
def faulty(upstream: str, **settings: object) -> Iterator[FaultyS3]:
    """Run a proxy for a while.

    Args:
        upstream: The server's address.
        settings: Of :class:`FaultyS3`.
    """
    proxy = FaultyS3(upstream, **settings)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


@pytest.fixture(scope="session")
def faulty_session(s3_server: str, bucket: str) -> Iterator[FaultyS3]:
    """One proxy for the session, so that its draws go on from test to test. A tenth of all requests is disturbed."""
    if not s3_server.startswith("http://"):
        pytest.skip("the fault-injecting proxy speaks plain HTTP only")
    with faulty(s3_server, rate=0.1) as proxy:
        yield proxy


@pytest.fixture
def faulty_s3(faulty_session: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> FaultyS3:
    """The session's S3 server behind the proxy, to which this process and those it starts now talk."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", faulty_session.url)
    return faulty_session
