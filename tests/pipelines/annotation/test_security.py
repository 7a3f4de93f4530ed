"""Who and what is kept out."""

import stat
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import annotation_site
import httpx
import pytest
from annotation_site import URL, client

from pipelines.annotation import security
from pipelines.annotation.security import RateLimit, Secret, host_names, host_of
from pipelines.config import load
from pipelines.storage import open_storage
from weakseg.errors import ConfigError, WeaksegError

PAGES = ("/", "/proportions", "/coarse", "/review")
PRIVATE = ("/api/state", "/api/work", "/api/history", "/api/review", "/api/images/0-abc")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> annotation_site.Site:
    return annotation_site.site(tmp_path_factory.mktemp("site"), annotators=("anna", "ben"), images=6)


@pytest.fixture
def nobody(site: annotation_site.Site) -> httpx.Client:
    return client(site, site.app(), None)


@pytest.fixture
def anna(site: annotation_site.Site) -> httpx.Client:
    return client(site, site.app(), "anna")


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_nobody_gets_in_without_a_token(nobody: httpx.Client):
    for path in PRIVATE:
        assert code(nobody.get(path)) == (401, "no_session")
    assert code(nobody.post("/api/answers", json={"answers": [{"query": "x", "class": 1, "seconds": 1}]})) == (
        401,
        "no_session",
    )
    for path in PAGES:
        reply = nobody.get(path)
        assert (reply.status_code, "signin" in reply.text) == (401, True)
    assert nobody.get("/enter").status_code == 200


@pytest.mark.parametrize("token", ["", "anna", "anna~", "anna~" + "A" * 43, "ben~x", "carl~" + "A" * 43, "é"])
def test_a_wrong_token_is_refused(nobody: httpx.Client, token: str):
    reply = nobody.post("/api/session", json={"token": token})
    assert code(reply) == (401, "bad_token")
    assert "set-cookie" not in reply.headers


def test_a_cookie_is_no_token_and_anothers_is_not_made_from_ones_own(site: annotation_site.Site, nobody: httpx.Client):
    secret = Secret.kept(Path(site.root) / "runs" / "asked" / "annotation.secret")
    assert code(nobody.post("/api/session", json={"token": secret.session("anna")})) == (401, "bad_token")
    name = site.page().cookie
    assert nobody.get("/api/state", headers={"cookie": f"{name}={secret.session('anna')}"}).status_code == 200
    for cookie in (secret.token("anna"), secret.session("anna").replace("anna", "ben"), secret.session("carl")):
        reply = nobody.get("/api/state", headers={"cookie": f"{name}={cookie}"})
        assert code(reply) == (401, "no_session")


def test_the_cookie_cannot_be_read_or_sent_across_sites(site: annotation_site.Site, nobody: httpx.Client):
    secret = Secret.kept(Path(site.root) / "runs" / "asked" / "annotation.secret")
    reply = nobody.post("/api/session", json={"token": secret.token("ben")})
    assert reply.status_code == 200  # no redirect, which would lose the cookie for links clicked elsewhere
    cookie = reply.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))
    assert nobody.get("/api/state").json()["annotator"] == "ben"
    nobody.delete("/api/session", headers={"content-type": "application/json"})
    assert nobody.get("/api/state").status_code == 401


def test_runs_at_one_address_have_cookies_of_their_own(site: annotation_site.Site, tmp_path: Path):
    other = annotation_site.site(tmp_path, images=1)
    browser = client(site, site.app(), "ben")
    beside = client(other, other.app(), "anna")
    beside.cookies.update(browser.cookies)  # which no port keeps apart
    browser.cookies = beside.cookies
    assert [tab.get("/api/state").json()["annotator"] for tab in (browser, beside)] == ["ben", "anna"]


def test_who_signs_in_in_another_tab_neither_answers_nor_acts_for_this_one(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1, annotators=("anna", "ben"))
    desk = site.desk()
    browser = client(site, site.app(desk), "anna")
    image = browser.get("/api/work").json()["images"][0]
    answer = {"answers": [{"query": image["queries"][0]["query"], "class": 1, "seconds": 1.0, "replaces": None}]}
    headers = {"x-weakseg-annotator": "ben", "content-type": "application/json"}
    for method, path, body in (
        ("GET", "/api/state", None),
        ("GET", "/api/work", None),
        ("POST", "/api/answers", answer),
        ("POST", "/api/alive", {"images": [image["image"]]}),
        ("POST", "/api/release", {"kind": "pixel", "images": [image["image"]]}),
        ("DELETE", "/api/session", None),
    ):
        assert code(browser.request(method, path, json=body, headers=headers)) == (409, "other_annotator")
    assert desk.answers.since() == []
    assert browser.post("/api/answers", json=answer, headers={"x-weakseg-annotator": "anna"}).status_code == 200


def test_the_application_stands_behind_its_guard(anna: httpx.Client):
    assert code(anna.get("/api/state", headers={"host": "evil.example"})) == (400, "bad_host")
    assert code(anna.post("/api/alive", json={"images": ["0-x"]}, headers={"origin": "null"})) == (403, "bad_origin")
    assert code(anna.post("/api/alive", json={"images": ["x" * 2**20]})) == (413, "too_large")


def test_other_names_must_be_given():
    assert host_names("127.0.0.1", []) == {"127.0.0.1", "localhost", "::1"}
    assert "0.0.0.0" not in host_names("0.0.0.0", [])
    assert "proxy.example" in host_names("0.0.0.0", ["Proxy.example"])
    assert host_of("[::1]:80") == "::1"


@pytest.mark.parametrize(
    "handle",
    [
        "..%2f..%2frun.json",
        "../../run.json",
        "%2e%2e/%2e%2e/annotation.secret",
        "/etc/passwd",
        "train/000",
        "0",
        "0-" + "A" * 16,
        "1e9-" + "A" * 16,
        "%00",
        "a" * 5000,
    ],
)
def test_an_image_id_is_no_path(anna: httpx.Client, handle: str):
    for path in (f"/api/images/{handle}", f"/static/{handle}", f"/api/regions/{handle}"):
        assert anna.get(path).status_code in (404, 405)


@pytest.mark.parametrize("name", ["..%2foutside.html", "../outside.html", "page.js/..", ".hidden", "app.py", "PAGE.JS"])
def test_static_files_are_only_those_of_their_folder(anna: httpx.Client, name: str):
    assert anna.get(f"/static/{name}").status_code == 404
    assert anna.get("/static/page.js").status_code == 200


def test_another_annotators_images_are_neither_shown_nor_answered(site: annotation_site.Site):
    desk = site.desk()
    app = site.app(desk)
    anna, ben = client(site, app, "anna"), client(site, app, "ben")
    mine = anna.get("/api/work").json()["images"][0]
    query = mine["queries"][0]["query"]
    assert anna.get(mine["url"]).status_code == 200
    assert code(ben.get(mine["url"])) == (403, "not_yours")
    answer = {"answers": [{"query": query, "class": 1, "seconds": 1.0, "replaces": None}]}
    assert code(ben.post("/api/answers", json=answer)) == (403, "not_yours")
    assert mine["image"] not in [image["image"] for image in ben.get("/api/work?images=8").json()["images"]]
    assert anna.post("/api/answers", json=answer).status_code == 200
    assert ben.post("/api/release", json={"kind": "pixel", "images": [mine["image"]]}).status_code == 200
    assert mine["image"] in [image["image"] for image in anna.get("/api/work").json()["images"]]


def test_a_class_name_with_markup_stays_text(tmp_path: Path):
    name = "<img onerror=alert(1) src=x>"
    site = annotation_site.site(tmp_path, images=1, classes=(name, "b"))
    browser = client(site, site.app())
    reply = browser.get("/api/state")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.json()["classes"][0]["name"] == name
    for path in PAGES:  # pages are files: no name ever reaches one on the server
        assert "<img" not in browser.get(path).text


def test_every_response_carries_the_strict_headers(anna: httpx.Client, nobody: httpx.Client):
    replies = [anna.get("/"), anna.get("/api/state"), nobody.get("/"), anna.get("/nothing")]
    replies += [anna.get("/", headers={"host": "evil.example"}), anna.get("/static/page.js")]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["referrer-policy"] == "no-referrer"
    assert anna.get("/api/state").headers["cache-control"] == "no-store"
    assert anna.get("/docs").status_code == anna.get("/openapi.json").status_code == 404


def test_thirty_answers_a_second_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site = annotation_site.site(tmp_path, annotators=("anna", "ben"))
    desk = site.desk()
    app = site.app(desk)
    anna, ben = client(site, app, "anna"), client(site, app, "ben")
    bodies = {
        browser: {"answers": [row | {"class": 1, "seconds": 0.1, "replaces": None}]}
        for browser in (anna, ben)
        for image in browser.get("/api/work?images=1").json()["images"]
        for row in [{"query": image["queries"][0]["query"]}]
    }
    monkeypatch.setattr(security, "time", SimpleNamespace(monotonic=lambda: 5.0))
    for _ in range(30):
        assert anna.post("/api/answers", json=bodies[anna]).status_code == 200
    refused = anna.post("/api/answers", json=bodies[anna])
    assert code(refused) == (429, "too_fast")
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["retry_after"] == 1.0
    assert ben.post("/api/answers", json=bodies[ben]).status_code == 200
    monkeypatch.setattr(security, "time", SimpleNamespace(monotonic=lambda: 6.01))
    assert anna.post("/api/answers", json=bodies[anna]).status_code == 200


def test_the_rate_is_counted_over_time():
    limit = RateLimit(30)
    assert [limit.wait("anna", now=0.0) for _ in range(30)] == [0.0] * 30
    assert limit.wait("anna", now=0.5) == pytest.approx(0.5)
    assert limit.wait("ben", now=0.5) == 0.0
    assert limit.wait("anna", now=1.01) == 0.0
    assert limit.wait("carl", 50, now=0.0) == 0.0
    assert limit.wait("carl", 11, now=1.5) > 0


def test_requests_at_once_are_counted_together():
    limit = RateLimit(30)

    class Slow(deque[float]):
        """Lets other threads in wherever it is looked at."""

        def popleft(self) -> float:
            time.sleep(0.001)
            return super().popleft()

        def __len__(self) -> int:
            time.sleep(0.001)
            return super().__len__()

    limit._times["anna"] = Slow([0.0] * 20)
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: limit.wait("anna", now=2.0), range(40)))
    assert waits.count(0.0) == 30


def test_other_hosts_need_a_name_for_each_annotator():
    with pytest.raises(ConfigError, match="labelling.browser.annotators"):
        load("demo", ["labelling.annotator=browser", "labelling.browser.host=0.0.0.0"])
    load("demo", ["labelling.annotator=browser", "labelling.browser.host=0.0.0.0", "labelling.browser.annotators=[a]"])
    load("demo", ["labelling.annotator=browser"])


def test_the_secret_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "annotation.secret"
    secret = Secret.kept(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secret.kept(path).token("anna") == secret.token("anna") != secret.token("ben")
    path.chmod(0o644)
    with pytest.raises(WeaksegError, match="delete it"):
        Secret.kept(path)


def test_a_secret_in_the_storage_is_made_once(tmp_path: Path):
    storage = open_storage(tmp_path)
    secret = Secret.stored(storage, "runs/asked/annotation.secret")
    assert Secret.stored(storage, "runs/asked/annotation.secret") == secret != Secret.stored(storage, "other.secret")
    storage.write_bytes("other.secret", b"short")
    with pytest.raises(WeaksegError, match="delete it"):
        Secret.stored(storage, "other.secret")


def test_links_hold_the_token_where_no_server_logs_it(site: annotation_site.Site):
    with annotation_site.serve(site) as served:
        assert set(served.links) == {"anna", "ben"}
        link = httpx.URL(served.links["anna"])
        assert (link.host, link.path, link.query) == ("127.0.0.1", "/enter", b"")
        with httpx.Client(base_url=served.url, headers={"origin": served.url}) as browser:
            assert browser.post("/api/session", json={"token": link.fragment}).json()["annotator"] == "anna"
            assert browser.get("/api/state").json()["phase"] == "asking"
    assert URL.startswith("http://127.0.0.1")
