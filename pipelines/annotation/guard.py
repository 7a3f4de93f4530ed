"""What every request must pass and every response carries: Host, Origin, size, and the headers that browsers heed."""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from pipelines.annotation.security import host_of

MAX_BODY = 2**20
"""Bytes of a request's body."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def error(code: str, message: str, **more: Any) -> dict[str, Any]:
    """The body of every refusal."""
    return {"error": {"code": code, "message": message, "index": None, **more}}


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        hosts: Names that a Host header may have.
    """

    def __init__(self, app: Application, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with a limited body."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send, private=scope["path"].startswith("/api/"))
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        body = await _body(receive)
        if body is None:
            await _answer(send, *_TOO_LARGE)
            return
        await self._app(scope, _replay(body, receive), send)

    def _refusal(self, method: str, headers: list[tuple[str, str]]) -> tuple[int, dict[str, Any]] | None:
        found = dict(headers)
        hosts = [value for name, value in headers if name == "host"]
        if len(hosts) != 1 or host_of(hosts[0]) not in self._hosts:
            return 400, error("bad_host", "This server does not go by that name: use the link that weakseg printed.")
        if method not in ("GET", "HEAD"):
            scheme, _, netloc = found.get("origin", "").lower().partition("://")
            if scheme not in ("http", "https") or netloc != hosts[0].strip().lower():
                return 403, error("bad_origin", "Only pages of this server may send anything.")
            if found.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return 415, error("not_json", "Expected Content-Type: application/json.")
        length = found.get("content-length", "0")
        return _TOO_LARGE if not length.isdecimal() or int(length) > MAX_BODY else None


_TOO_LARGE = 413, error("too_large", f"A request may have {MAX_BODY} bytes at most.")


async def _body(receive: Receive) -> bytes | None:
    """All of a request's body, None past the limit."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send, *, private: bool) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            there = {name.lower() for name, _ in headers}
            added = _HEADERS | ({"cache-control": "no-store"} if private else {})
            headers += [(name.encode(), value.encode()) for name, value in added.items() if name.encode() not in there]
            message = {**message, "headers": headers}
        await send(message)

    return wrapped


async def _answer(send: Send, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
