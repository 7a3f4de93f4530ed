"""Faults as replies: the JSON by which the pages know what went wrong."""

import sqlite3

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from pipelines.annotation.answers import Conflict
from pipelines.annotation.desk import Refused
from pipelines.annotation.guard import error
from pipelines.annotation.views import answer_view
from weakseg.errors import WeaksegError

_STATUS = {
    "bad_request": 422,
    "not_yours": 403,
    "lease_lost": 409,
    "other_annotator": 409,
    "unknown_image": 404,
    "unknown_query": 404,
    "not_found": 404,
}


class NoSession(Exception):
    """Nobody is signed in."""


def add_handlers(app: FastAPI) -> None:
    """Every fault as the JSON that the page knows."""

    @app.exception_handler(NoSession)
    def no_session(request: Request, fault: NoSession) -> Response:
        return JSONResponse(error("no_session", "Open the link that weakseg printed."), status_code=401)

    @app.exception_handler(Refused)
    def not_allowed(request: Request, fault: Refused) -> Response:
        return refused(fault)

    @app.exception_handler(Conflict)
    def conflict(request: Request, fault: Conflict) -> Response:
        current = None if fault.current is None else answer_view(fault.current)
        message = "Another answer of yours came before: take it as the current one."
        return JSONResponse(error("conflict", message, current=current), status_code=409)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, fault: RequestValidationError) -> Response:
        first = fault.errors()[0]
        if first["type"] == "json_invalid":
            return JSONResponse(error("bad_json", "The request is not JSON."), status_code=400)
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse(error("bad_request", f"{where}: {first['msg']}"), status_code=422)

    @app.exception_handler(HTTPException)
    def http(request: Request, fault: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(fault.status_code, "bad_request")
        return JSONResponse(error(code, str(fault.detail)), status_code=fault.status_code)

    @app.exception_handler(OSError)
    def not_stored(request: Request, fault: OSError) -> Response:
        return _not_stored()

    @app.exception_handler(sqlite3.Error)
    def database(request: Request, fault: sqlite3.Error) -> Response:
        return _not_stored()

    @app.exception_handler(WeaksegError)
    def storage(request: Request, fault: WeaksegError) -> Response:
        return _not_stored()


def refused(fault: Refused, *, index: int | None = None) -> Response:
    """The reply to what an annotator may not do.

    Args:
        fault: What it is.
        index: Of the answer in a batch that is refused for it.
    """
    content = error(fault.code, str(fault))
    content["error"]["index"] = index
    return JSONResponse(content, status_code=_STATUS[fault.code])


def _not_stored() -> Response:
    message = "The storage could not be reached: nothing was stored. It will be tried again."
    return JSONResponse(error("not_stored", message), status_code=503)
