"""The files of the pages: all flat in one folder, which no name can leave."""

import hashlib
import re
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

STATIC = Path(__file__).with_name("static")

_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}


def static_file(name: str, request: Request, *, status: int = 200) -> Response:
    """A file of the pages, or 304 where the browser has it.

    Args:
        name: Its flat name.
        request: May say what the browser has.
        status: Of the reply.

    Raises:
        HTTPException: 404 if there is none.
    """
    media = _MEDIA.get(Path(name).suffix)
    path = STATIC / name
    if media is None or not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) or not path.is_file():
        raise HTTPException(404, "There is no such file.")
    data = path.read_bytes()
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"cache-control": "no-cache", "etag": etag}
    if status == 200 and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(data, status_code=status, media_type=media, headers=headers)
