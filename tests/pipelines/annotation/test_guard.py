"""What a request must pass before the application hears of it, and what every response carries."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipelines.annotation.guard import MAX_BODY, Guard, Message, Receive, Send, error
from pipelines.annotation.security import host_names

HOST, ORIGIN, JSON = "127.0.0.1:8765", "http://127.0.0.1:8765", "application/json"
Headers = Sequence[tuple[str, str]]


@dataclass
class Exchange:
    """What came of a request: what was sent back, and what the application got, if it was called at all."""

    sent: list[Message] = field(default_factory=list)
    got: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def code(self) -> tuple[int, str]:
        assert self.got == []
        assert self.headers["content-length"] == str(len(self.sent[1]["body"]))
        return self.status, json.loads(self.sent[1]["body"])["error"]["code"]


def ask(
    method: str = "GET",
    path: str = "/",
    headers: Headers = (("Host", HOST),),
    *,
    chunks: Sequence[bytes] = (b"",),
    answered: Headers = (),
    **scope: Any,
) -> Exchange:
    """Send a request through the guard to an application that listens and answers with some headers."""
    found = Exchange()
    waiting: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        for _ in range(3):  # all of it, and what comes after
            found.got.append(await receive())
        raw = [(name.encode(), value.encode()) for name, value in answered]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        found.sent.append(message)

    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    request = {"type": "http", "method": method, "path": path, "headers": encoded, "server": ("127.0.0.1", 8765)}
    guard = Guard(application, host_names("127.0.0.1", ["Proxy.example"]))
    with ThreadPoolExecutor(1) as pool:  # a browser's tests leave this thread with an event loop of theirs
        pool.submit(lambda: asyncio.run(guard(request | scope, receive, send))).result()
    return found


def post(*chunks: bytes, origin: str = ORIGIN, media: str = JSON, more: Headers = (), method: str = "POST") -> Exchange:
    headers = (("host", HOST), ("origin", origin), ("content-type", media), *more)
    return ask(method, "/api/answers", headers, chunks=chunks or (b"{}",))


@pytest.mark.parametrize("host", [HOST, "localhost:9000", "[::1]:1", "LOCALHOST", "proxy.example"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_only_reads_needs_no_more_than_a_name_of_the_server(method: str, host: str):
    assert ask(method, headers=[("host", host)]).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.2:8765", "[::2]:8765", "localhost, evil.example", "é"],
)
def test_a_foreign_host_is_refused(host: str):
    assert ask(headers=[("host", host)]).code == (400, "bad_host")


def test_exactly_one_host_is_named():
    assert ask(headers=[]).code == (400, "bad_host")
    assert ask(headers=[("host", HOST), ("Host", HOST)]).code == (400, "bad_host")


def test_a_server_that_others_reach_goes_by_the_address_they_reached():
    def status(host: str, server: tuple[str, int] | None) -> int:
        return ask(headers=[("host", host)], server=server).status

    assert status("192.168.1.7:8765", ("192.168.1.7", 8765)) == 200
    assert status("[fe80::7]:8765", ("fe80::7", 8765)) == 200
    assert status("192.168.1.8:8765", ("192.168.1.7", 8765)) == 400
    assert status("evil.example:8765", ("evil.example", 8765)) == 400  # never a name, which could be bound anew
    assert status("192.168.1.7:8765", None) == 400


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8765", "https://127.0.0.1:8765", "HTTP://127.0.0.1:8765"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_who_changes_anything_comes_from_a_page_of_this_server(method: str, origin: str):
    assert post(origin=origin, method=method).status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://[", "http://127.0.0.1:1", "http://127.0.0.1", "file://127.0.0.1:8765"],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_a_foreign_origin_is_refused(method: str, origin: str):
    assert post(origin=origin, method=method).code == (403, "bad_origin")


def test_no_origin_is_refused_too():
    assert ask("POST", headers=[("host", HOST), ("content-type", JSON)]).code == (403, "bad_origin")


def test_another_name_of_the_server_is_another_origin():
    headers = [("host", "localhost:8765"), ("origin", ORIGIN), ("content-type", JSON)]
    assert ask("POST", headers=headers).code == (403, "bad_origin")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "", "application/json2"])
def test_what_a_form_could_send_is_refused(media: str):
    assert post(media=media).code == (415, "not_json")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_goes_by_its_usual_names(media: str):
    assert post(media=media).status == 200


@pytest.mark.parametrize("chunks", [[b"x" * (MAX_BODY + 1)], [b"x" * MAX_BODY, b"x", b"x"]])
def test_a_large_body_is_refused_although_it_does_not_say_so(chunks: list[bytes]):
    assert post(*chunks).code == (413, "too_large")
    assert post(*chunks, more=[("content-length", "2")]).code == (413, "too_large")


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "-1", "1.5", "x", "", "+1"])
def test_a_large_or_nonsensical_length_is_refused_unread(length: str):
    assert post(more=[("content-length", length)]).code == (413, "too_large")


def test_a_body_arrives_whole_however_it_came():
    found = post(b"x" * (MAX_BODY - 3), b"", b"abc", more=[("content-length", str(MAX_BODY))])
    assert found.status == 200
    assert found.got == [
        {"type": "http.request", "body": b"x" * (MAX_BODY - 3) + b"abc", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


def test_every_response_carries_the_strict_headers():
    replies = [ask(), ask(path="/api/state"), post(), ask(headers=[]), post(origin="null"), post(media="text/plain")]
    for reply in [*replies, post(more=[("content-length", "x")])]:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert reply.headers["x-frame-options"] == "DENY"


def test_no_cache_keeps_what_the_interface_answers_unless_it_says_so():
    assert ask(path="/api/state").headers["cache-control"] == "no-store"
    assert "cache-control" not in ask(path="/static/page.js").headers
    kept = ask(path="/api/images/1", answered=[("Cache-Control", "private")])
    assert kept.headers["Cache-Control"] == "private"
    assert "cache-control" not in kept.headers


def test_nobody_opens_a_websocket():
    found = ask(type="websocket")
    assert found.sent == [{"type": "websocket.close", "code": 1008}]
    assert found.got == []


def test_the_servers_own_messages_pass():
    assert ask(type="lifespan").got == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


def test_a_refusal_has_a_code_a_sentence_and_what_else_there_is():
    expected = {"code": "too_fast", "message": "Wait.", "index": None, "retry_after": 1.5}
    assert error("too_fast", "Wait.", retry_after=1.5) == {"error": expected}
    assert error("bad_request", "No.", index=3)["error"]["index"] == 3
