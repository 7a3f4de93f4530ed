"""The web application: pages, and the JSON interface that they speak with."""

import hashlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Cookie, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from pipelines.annotation.answers import Conflict
from pipelines.annotation.desk import Refused
from pipelines.annotation.guard import Guard, error
from pipelines.annotation.messages import Batch, Images, Token, entry
from pipelines.annotation.security import COOKIE, RateLimit
from pipelines.annotation.views import Site, answer_view, disagreements, history, image_view
from weakseg.datasets.classes import hexadecimal
from weakseg.errors import WeaksegError
from weakseg.schema import VOID

STATIC = Path(__file__).with_name("static")
PAGES = {
    "/": "pixels.html",
    "/proportions": "proportions.html",
    "/coarse": "coarse.html",
    "/review": "review.html",
}
ANSWERS_PER_SECOND = 30
SESSION_DAYS = 30

_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_STATUS = {
    "bad_request": 422,
    "not_yours": 403,
    "lease_lost": 409,
    "unknown_image": 404,
    "unknown_query": 404,
    "not_found": 404,
}

Page = Literal["pixel", "proportions", "coarse"]


class NoSession(Exception):
    """Nobody is signed in."""


def create_app(site: Site) -> Callable[..., Any]:
    """The application of one run, guarded.

    Args:
        site: What it works with.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    limit = RateLimit(ANSWERS_PER_SECOND)

    def annotator(weakseg_session: Annotated[str | None, Cookie()] = None) -> str:
        found = site.secret.who("session", weakseg_session or "", site.annotators)
        if found is None:
            raise NoSession
        return found

    Me = Annotated[str, Depends(annotator)]

    @app.get("/enter")
    def enter(request: Request) -> Response:
        return _file("enter.html", request)

    def page(request: Request, weakseg_session: Annotated[str | None, Cookie()] = None) -> Response:
        known = site.secret.who("session", weakseg_session or "", site.annotators)
        if known is None:
            return _file("signin.html", request, status=401)
        return _file(PAGES[request.url.path], request)

    for path in PAGES:
        app.get(path)(page)

    @app.get("/static/{name}")
    def static(name: str, request: Request) -> Response:
        return _file(name, request)

    @app.get("/favicon.ico")
    def icon(request: Request) -> Response:
        return _file("favicon.svg", request) if (STATIC / "favicon.svg").exists() else Response(status_code=204)

    @app.post("/api/session")
    def sign_in(body: Token) -> JSONResponse:
        found = site.secret.who("token", body.token, site.annotators)
        if found is None:
            return JSONResponse(
                error("bad_token", "This link is not valid: use the one that weakseg printed last."), status_code=401
            )
        response = JSONResponse({"annotator": found, "run": site.run})
        response.set_cookie(
            COOKIE,
            site.secret.session(found),
            max_age=SESSION_DAYS * 86400,
            path="/",
            httponly=True,
            samesite="strict",
        )
        return response

    @app.get("/api/session")
    def session(me: Me) -> dict[str, Any]:
        return {"annotator": me, "run": site.run}

    @app.delete("/api/session")
    def sign_out(me: Me) -> JSONResponse:
        response = JSONResponse({})
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    @app.get("/api/state")
    def state(me: Me) -> dict[str, Any]:
        site.desk.refresh()
        asking, newest = site.desk.asking, site.desk.standing
        alive = bool((site.desk.ledger.owner() or {}).get("alive"))
        kinds = {question.page for question in newest.questions} if newest is not None else {"pixel"}
        classes = site.classes
        return {
            "run": site.run,
            "annotator": me,
            "mark": site.secret.mac("mark", site.run, digits=8),
            "annotators": len(site.annotators),
            "phase": "asking" if asking else "finished" if _finished(site, alive) else "waiting",
            "driver": alive,
            "round": None if asking is None else asking.number,
            "rounds": site.rounds,
            "pages": [name for name in ("pixel", "proportions", "coarse") if name in kinds],
            "classes": [
                {"id": number, "name": name, "color": hexadecimal(color), "key": key}
                for number, (name, color, key) in enumerate(
                    zip(classes.names, classes.colors, classes.keys, strict=True)
                )
            ],
            "void": VOID,
            "progress": site.desk.progress(me),
        }

    @app.get("/api/work")
    def work(me: Me, kind: Page = "pixel", images: Annotated[int, Query(ge=1, le=8)] = 3) -> dict[str, Any]:
        found = site.desk.work(me, kind, images)
        result: dict[str, Any] = {"round": None, "kind": kind, "lease_seconds": site.desk.lifetime, "images": []}
        with site.desk.answers.lock:
            if found is not None:
                standing, image_ids = found
                result["round"] = standing.number
                for image_id in image_ids:
                    asked = [q for q in standing.by_image[kind, image_id] if standing.for_me(q, me)]
                    result["images"].append(image_view(site, standing, me, image_id, asked))
            if kind == "proportions":
                last = history(site, me, kind, limit=1, before=None)
                result["last"] = last[0]["answer"]["proportions"] if last else None
        return {**result, "progress": site.desk.progress(me)}

    @app.get("/api/images/{handle}")
    def image(me: Me, handle: str) -> Response:
        number = site.image(handle)
        if not site.desk.may_see(me, site.pictures.image_ids[number]):
            raise Refused("not_yours", "This image is somebody else's.")
        data, media = site.pictures(number)
        return Response(data, media_type=media, headers={"cache-control": "private, max-age=86400, immutable"})

    @app.get("/api/regions/{handle}")
    def region(me: Me, handle: str) -> Response:
        _, question = site.question(handle)
        if not site.desk.may_see(me, question.image_id):
            raise Refused("not_yours", "This image is somebody else's.")
        if question.place[1] != "region":
            raise Refused("not_found", "This question is not about a region.")
        data = site.pictures.outline(site.pictures.numbers[question.image_id], question.place[5])
        return Response(data, media_type="image/png", headers={"cache-control": "private, max-age=86400, immutable"})

    @app.post("/api/answers")
    def answer(me: Me, body: Batch) -> Any:
        pause = limit.wait(me, len(body.answers))
        if pause > 0:
            return JSONResponse(
                error("too_fast", f"At most {ANSWERS_PER_SECOND} answers a second.", retry_after=round(pause, 3)),
                status_code=429,
                headers={"retry-after": str(max(1, round(pause)))},
            )
        site.desk.refresh()
        entries, late = [], []
        for number, given in enumerate(body.answers):
            try:
                standing, question = site.question(given.query)
                size = site.pictures.sizes[site.pictures.numbers[question.image_id]]
                entries.append(entry(given, question, classes=len(site.classes), size=size))
                late.append(standing.closed)
            except Refused as refused:
                return _refused(refused, index=number)
        kept = site.desk.add(me, entries)
        return {
            "answers": [
                {"query": given.query, **answer_view(row), "late": closed}
                for given, row, closed in zip(body.answers, kept, late, strict=True)
            ],
            "progress": site.desk.progress(me),
        }

    @app.get("/api/history")
    def earlier(
        me: Me,
        kind: Page = "pixel",
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
        before: Annotated[str | None, Query(max_length=32)] = None,
    ) -> dict[str, Any]:
        site.desk.refresh()
        with site.desk.answers.lock:
            return {"history": history(site, me, kind, limit=limit, before=before)}

    @app.get("/api/review")
    def review(me: Me) -> dict[str, Any]:
        site.desk.refresh()
        with site.desk.answers.lock:
            return {"disagreements": disagreements(site, me)}

    @app.post("/api/alive")
    def alive(me: Me, body: Images) -> dict[str, Any]:
        names = {site.pictures.image_ids[site.image(handle)]: handle for handle in body.images}
        held, lost = site.desk.renew(me, names)
        return {"held": [names[image_id] for image_id in held], "lost": [names[image_id] for image_id in lost]}

    @app.post("/api/release")
    def release(me: Me, body: Images) -> dict[str, Any]:
        site.desk.release(me, [site.pictures.image_ids[site.image(handle)] for handle in body.images])
        return {}

    _add_handlers(app)
    return Guard(app, site.hosts)  # type: ignore[arg-type]


def _add_handlers(app: FastAPI) -> None:
    """Every fault as the JSON that the page knows."""

    @app.exception_handler(NoSession)
    def no_session(request: Request, fault: NoSession) -> Response:
        return JSONResponse(error("no_session", "Open the link that weakseg printed."), status_code=401)

    @app.exception_handler(Refused)
    def refused(request: Request, fault: Refused) -> Response:
        return _refused(fault)

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


def _not_stored() -> Response:
    message = "The storage could not be reached: nothing was stored. It will be tried again."
    return JSONResponse(error("not_stored", message), status_code=503)


def _refused(fault: Refused, *, index: int | None = None) -> Response:
    content = error(fault.code, str(fault))
    content["error"]["index"] = index
    return JSONResponse(content, status_code=_STATUS[fault.code])


def _finished(site: Site, alive: bool) -> bool:
    ledger, newest = site.desk.ledger, site.desk.standing
    if newest is None or not ledger.exists(f"{ledger.round(newest.number)}/_SUCCESS"):
        return False
    return newest.number + 1 >= site.rounds or (not alive and ledger.exists("report.html"))


def _file(name: str, request: Request, *, status: int = 200) -> Response:
    """A static file; only flat names that are there."""
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
