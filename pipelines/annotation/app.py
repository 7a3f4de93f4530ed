"""The web application: pages, and the JSON interface that they speak with."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Cookie, Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse, Response

from pipelines.annotation.desk import Refused
from pipelines.annotation.guard import Guard, error
from pipelines.annotation.messages import Batch, Images, Left, Page, Token, entry
from pipelines.annotation.replies import NoSession, add_handlers, refused
from pipelines.annotation.security import RateLimit
from pipelines.annotation.static_files import static_file
from pipelines.annotation.views import Site, answer_view, disagreements, history, image_view, progress
from weakseg.datasets.classes import hexadecimal
from weakseg.schema import VOID

PAGES = {
    "/": "pixels.html",
    "/proportions": "proportions.html",
    "/coarse": "coarse.html",
    "/review": "review.html",
}
PATHS = {"pixel": "/", "proportions": "/proportions", "coarse": "/coarse"}
ANSWERS_PER_SECOND = 30
SESSION_DAYS = 30


def create_app(site: Site) -> Callable[..., Any]:
    """The application of one run, guarded.

    Args:
        site: What it works with.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    limit = RateLimit(ANSWERS_PER_SECOND)

    Session = Annotated[str | None, Cookie(alias=site.cookie)]
    Meant = Annotated[str | None, Header(alias="x-weakseg-annotator")]

    def annotator(session: Session = None, meant: Meant = None) -> str:
        found = site.secret.who("session", session or "", site.annotators)
        if found is None:
            raise NoSession
        if meant not in (None, found):
            raise Refused("other_annotator", "Somebody else signed in in another tab of this browser.")
        return found

    Me = Annotated[str, Depends(annotator)]

    @app.get("/enter")
    def enter(request: Request) -> Response:
        return static_file("enter.html", request)

    def page(request: Request, session: Session = None) -> Response:
        known = site.secret.who("session", session or "", site.annotators)
        if known is None:
            return static_file("signin.html", request, status=401)
        return static_file(PAGES[request.url.path], request)

    for path in PAGES:
        app.get(path)(page)

    @app.get("/static/{name}")
    def static(name: str, request: Request) -> Response:
        return static_file(name, request)

    @app.get("/favicon.ico")
    def icon(request: Request) -> Response:
        return static_file("favicon.svg", request)

    @app.post("/api/session")
    def sign_in(body: Token) -> JSONResponse:
        found = site.secret.who("token", body.token, site.annotators)
        if found is None:
            return JSONResponse(
                error("bad_token", "This link is not valid: use the one that weakseg printed last."), status_code=401
            )
        site.desk.refresh()
        there = progress(site, found)
        first = next((name for name, row in there.items() if row["open"]), next(iter(there), "pixel"))
        response = JSONResponse({"annotator": found, "path": PATHS[first]})
        response.set_cookie(
            site.cookie,
            site.secret.session(found),
            max_age=SESSION_DAYS * 86400,
            path="/",
            httponly=True,
            samesite="strict",
        )
        return response

    @app.delete("/api/session")
    def sign_out(me: Me) -> JSONResponse:
        response = JSONResponse({})
        response.delete_cookie(site.cookie, path="/", httponly=True, samesite="strict")
        return response

    @app.get("/api/state")
    def state(me: Me) -> dict[str, Any]:
        site.desk.refresh()
        asking = site.desk.asking
        alive = bool((site.desk.ledger.owner() or {}).get("alive"))
        with site.desk.answers.lock:
            kinds = {page for standing in site.desk.rounds.values() for page in standing.pages} or {"pixel"}
        classes = site.classes
        return {
            "run": site.run,
            "annotator": me,
            "mark": site.mark,
            "phase": "asking" if asking else "finished" if _finished(site, alive) else "waiting",
            "driver": alive,
            "round": None if asking is None else asking.number,
            "rounds": site.rounds,
            "pages": [name for name in PATHS if name in kinds],
            "classes": [
                {"id": number, "name": name, "color": hexadecimal(color), "key": key}
                for number, (name, color, key) in enumerate(
                    zip(classes.names, classes.colors, classes.keys, strict=True)
                )
            ],
            "void": VOID,
            "progress": progress(site, me),
        }

    @app.get("/api/work")
    def work(me: Me, kind: Page = "pixel", images: Annotated[int, Query(ge=1, le=8)] = 3) -> dict[str, Any]:
        found = site.desk.work(me, kind, images)
        result: dict[str, Any] = {"round": None, "kind": kind, "images": []}
        with site.desk.answers.lock:
            if found is not None:
                standing, image_ids = found
                result["round"] = max(site.desk.rounds)
                for image_id in image_ids:
                    asked = [q for q in standing.by_image[kind, image_id] if standing.for_me(q, me)]
                    result["images"].append(image_view(site, standing, me, image_id, asked))
            if kind == "proportions":
                last = history(site, me, kind, limit=1, before=None)
                result["last"] = last[0]["answer"]["proportions"] if last else None
        return {**result, "progress": progress(site, me)}

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
                late.append(site.desk.late(standing, question))
            except Refused as fault:
                return refused(fault, index=number)
        kept = site.desk.add(me, entries)
        return {
            "answers": [
                {"query": given.query, **answer_view(row), "late": closed}
                for given, row, closed in zip(body.answers, kept, late, strict=True)
            ],
            "progress": progress(site, me),
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
        site.desk.renew(me, [site.pictures.image_ids[site.image(handle)] for handle in body.images])
        return {}

    @app.post("/api/release")
    def release(me: Me, body: Left) -> dict[str, Any]:
        site.desk.release(me, body.kind, [site.pictures.image_ids[site.image(handle)] for handle in body.images])
        return {}

    add_handlers(app)
    return Guard(app, site.hosts)  # type: ignore[arg-type]


def _finished(site: Site, alive: bool) -> bool:
    ledger, newest = site.desk.ledger, site.desk.standing
    if newest is None or not ledger.exists(f"{ledger.round(newest.number)}/_SUCCESS"):
        return False
    return newest.number + 1 >= site.rounds or (not alive and ledger.exists("report.html"))
