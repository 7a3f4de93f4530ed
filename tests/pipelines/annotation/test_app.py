"""The interface that the page speaks with."""

import io
import time
from pathlib import Path

import annotation_site
import httpx
import numpy as np
import pytest
from annotation_site import client
from PIL import Image

from pipelines.annotation.serve import open_secret


def work(browser: httpx.Client, **query: object) -> dict:
    response = browser.get("/api/work", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def post(browser: httpx.Client, *answers: dict) -> httpx.Response:
    return browser.post("/api/answers", json={"answers": [{"seconds": 1.0, "replaces": None} | row for row in answers]})


def test_a_round_from_the_first_to_the_last_answer(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=3)
    browser = client(site, site.app())
    state = browser.get("/api/state").json()
    assert (state["phase"], state["round"], state["rounds"], state["pages"]) == ("asking", 0, 3, ["pixel"])
    assert [row["name"] for row in state["classes"]] == list(annotation_site.CLASSES)
    answered = 0
    while images := work(browser, images=2)["images"]:
        for image in images:
            picture = browser.get(image["url"])
            assert Image.open(io.BytesIO(picture.content)).size == (image["width"], image["height"])
            assert "immutable" in picture.headers["cache-control"]
            for query in image["queries"]:
                assert query["answer"] is None
                reply = post(browser, {"query": query["query"], "class": 1})
                assert reply.status_code == 200, reply.text
                answered += 1
                assert reply.json()["progress"]["pixel"]["answered"] == answered
    assert answered == 9
    assert site.close(0).num_rows == 9
    assert len(browser.get("/api/history").json()["history"]) == 9


def test_a_reload_gives_the_same_images_with_my_answers(tmp_path: Path):
    site = annotation_site.site(tmp_path)
    app = site.app()
    browser = client(site, app)
    first = work(browser)["images"]
    query = first[0]["queries"][0]["query"]
    stored = post(browser, {"query": query, "class": 2}).json()["answers"][0]
    again = work(client(site, app))["images"]
    assert [image["image"] for image in again] == [image["image"] for image in first]
    assert [row["query"] for row in again[0]["queries"]] == [row["query"] for row in first[0]["queries"]]
    assert again[0]["queries"][0]["answer"] == {"id": stored["id"], "class": 2}
    assert len(again[0]["dots"]) == 1


def test_undo_and_change(tmp_path: Path):
    site = annotation_site.site(tmp_path)
    browser = client(site, site.app())
    query = work(browser)["images"][0]["queries"][0]["query"]
    first = post(browser, {"query": query, "class": 2}).json()["answers"][0]
    back = post(browser, {"query": query, "class": None, "replaces": first["id"]}).json()["answers"][0]
    assert back["class"] is None
    assert browser.get("/api/history").json()["history"] == []
    again = post(browser, {"query": query, "class": 255, "replaces": back["id"]}).json()["answers"][0]
    (entry,) = browser.get("/api/history").json()["history"]
    assert entry["answer"] == {"id": again["id"], "class": 255}
    assert post(browser, {"query": query, "class": 255, "replaces": back["id"]}).json()["answers"][0] == again
    clash = post(browser, {"query": query, "class": 0})
    assert clash.status_code == 409
    assert clash.json()["error"]["code"] == "conflict"
    assert clash.json()["error"]["current"] == {"id": again["id"], "class": 255}


@pytest.mark.parametrize(
    "answer",
    [
        {"class": 3},
        {"class": 1.5},
        {"proportions": [1.0, 0.0, 0.0]},
        {"class": None},  # there is none to take back
    ],
)
def test_a_faulty_answer_is_refused_and_nothing_stored(tmp_path: Path, answer: dict):
    site = annotation_site.site(tmp_path, images=1, pixels=2)
    desk = site.desk()
    browser = client(site, site.app(desk))
    good, bad = (row["query"] for row in work(browser)["images"][0]["queries"])
    reply = post(browser, {"query": good, "class": 1}, {"query": bad} | answer)
    assert reply.status_code == 422, reply.text
    assert reply.json()["error"]["code"] == "bad_request"
    assert desk.answers.since() == []


def test_what_is_no_json_is_told_so(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1)
    browser = client(site, site.app())
    reply = browser.post("/api/answers", content=b"{", headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_json")
    assert browser.get("/api/nothing").json()["error"]["code"] == "not_found"
    assert browser.get("/api/answers").status_code == 405


def test_proportions_and_what_was_said_last(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=2, kinds=("proportions",))
    browser = client(site, site.app())
    assert browser.get("/api/state").json()["pages"] == ["proportions"]
    found = work(browser, kind="proportions")
    assert found["last"] is None
    query = found["images"][0]["queries"][0]["query"]
    assert post(browser, {"query": query, "proportions": [0.5, 0.4, 0.2]}).status_code == 422
    stored = post(browser, {"query": query, "proportions": [0.5, 0.3, 0.2]})
    assert stored.json()["answers"][0]["proportions"] == [0.5, 0.3, 0.2]
    found = work(browser, kind="proportions")
    assert found["last"] == [0.5, 0.3, 0.2]
    assert len(found["images"]) == 1
    other = found["images"][0]["queries"][0]["query"]
    void = post(browser, {"query": other, "void": True}).json()["answers"][0]
    assert (void["proportions"], void["void"]) == (None, True)
    assert work(browser, kind="proportions")["images"] == []
    found = browser.get("/api/history", params={"kind": "proportions"}).json()["history"]
    assert [entry["answer"].get("void") for entry in found] == [True, None]
    back = post(browser, {"query": other, "proportions": None, "replaces": void["id"]}).json()["answers"][0]
    assert "void" not in back


def test_a_later_round_still_has_the_pages_of_whole_images(tmp_path: Path):
    kinds, share = ("pixel", "proportions", "coarse"), ["labelling.answered_share=0.5"]
    site = annotation_site.site(tmp_path, images=2, kinds=kinds, overrides=share)
    desk = site.desk()
    browser = client(site, site.app(desk))
    first, second = (image["queries"][0]["query"] for image in work(browser, kind="proportions")["images"])
    reply = post(browser, {"query": first, "proportions": [1, 0, 0]})
    stored = reply.json()["answers"][0]
    site.close(0)
    site.ask(1)
    desk.refresh(now=True)
    state = browser.get("/api/state").json()
    assert (state["round"], state["pages"]) == (1, ["pixel", "proportions", "coarse"])
    assert state["progress"].keys() == {"pixel", "proportions", "coarse"}
    assert {page: found["open"] for page, found in state["progress"].items()} == dict.fromkeys(state["pages"], True)
    found = work(browser, kind="proportions")
    assert found["round"] == 1  # as the state says: for the page it is this round's
    assert [query["query"] for image in found["images"] for query in image["queries"]] == [second]
    later = post(browser, {"query": second, "proportions": [0, 1, 0]}).json()["answers"][0]
    (entry, earlier) = browser.get("/api/history", params={"kind": "proportions"}).json()["history"]
    assert (entry["answer"]["id"], earlier["answer"]["id"]) == (later["id"], stored["id"])
    again = post(browser, {"query": first, "proportions": [0, 0, 1], "replaces": stored["id"]}).json()["answers"][0]
    assert (later["late"], again["late"]) == (False, False)  # both count in the training of this round
    site.close(1)
    desk.refresh(now=True)
    last = {"query": first, "proportions": [0, 1, 0], "replaces": again["id"]}
    assert post(browser, last).json()["answers"][0]["late"] is True


def test_polygons_lie_inside_the_image(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1, kinds=("coarse",))
    browser = client(site, site.app())
    image = work(browser, kind="coarse")["images"][0]
    query = image["queries"][0]["query"]
    inside = [[0, 0], [64, 0], [64, 48]]
    outside = {"class": 1, "points": [[0, 0], [65, 0], [64, 48]]}
    assert post(browser, {"query": query, "polygons": [outside]}).status_code == 422
    drawn = [{"class": 1, "points": inside, "holes": []}]
    reply = post(browser, {"query": query, "polygons": drawn})
    assert reply.status_code == 200, reply.text
    assert reply.json()["answers"][0]["polygons"] == drawn


def test_regions_come_with_their_outline(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1, kind="region")
    browser = client(site, site.app())
    image = work(browser)["images"][0]
    query = image["queries"][0]
    assert query["kind"] == "region"
    rgba_HW4 = np.asarray(Image.open(io.BytesIO(browser.get(query["outline"]).content)))
    assert rgba_HW4.shape == (image["height"], image["width"], 4)
    assert 0 < (rgba_HW4[..., 3] > 0).mean() < 0.7
    assert post(browser, {"query": query["query"], "class": 1}).status_code == 200


def test_an_answer_after_the_round_was_closed_is_kept_and_says_so(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=2, masks=True)
    desk = site.desk()
    browser = client(site, site.app(desk))
    query = work(browser)["images"][0]["queries"][0]["query"]
    site.close(0)
    desk.refresh(now=True)
    assert browser.get("/api/state").json()["phase"] == "waiting"
    assert work(browser)["images"] == []
    assert post(browser, {"query": query, "class": 1}).json()["answers"][0]["late"] is True
    assert len(desk.answers.since()) == 1


def test_disagreements_are_shown_to_those_who_answered(tmp_path: Path):
    site = annotation_site.site(
        tmp_path, images=1, pixels=1, annotators=("anna", "ben", "carl"), overrides=["labelling.repeat=1.0"]
    )
    app = site.app()
    people = {name: client(site, app, name) for name in ("anna", "ben", "carl")}
    for class_id, name in enumerate(("anna", "ben")):
        query = work(people[name])["images"][0]["queries"][0]["query"]
        assert post(people[name], {"query": query, "class": class_id}).status_code == 200
        work(people[name])
    (row,) = people["anna"].get("/api/review").json()["disagreements"]
    assert [(entry["annotator"], entry["class"], entry["mine"]) for entry in row["answers"]] == [
        ("anna", 0, True),
        ("ben", 1, False),
    ]
    assert row["decision"] is None
    assert people["carl"].get("/api/review").json()["disagreements"] == []
    changed = {"query": row["query"], "class": 1, "replaces": row["image"]["queries"][0]["answer"]["id"]}
    assert post(people["anna"], changed).status_code == 200
    assert people["anna"].get("/api/review").json()["disagreements"] == []
    assert work(people["carl"])["images"] == []


def test_each_is_told_which_pages_have_something_for_them(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=2, annotators=("anna", "ben"), kinds=("pixel", "proportions"))
    desk = site.desk()
    app = site.app(desk)
    token = open_secret(site.ledger()).token("ben")
    anna, ben = client(site, app, "anna"), client(site, app, "ben")

    def told() -> tuple[str, list[str]]:
        path = ben.post("/api/session", json={"token": token}).json()["path"]
        progress = ben.get("/api/state").json()["progress"]
        return path, [page for page, row in progress.items() if row["open"]]

    assert told() == ("/", ["pixel", "proportions"])
    work(anna, images=2)
    assert told() == ("/proportions", ["proportions"])
    held = work(anna, kind="proportions", images=2)
    assert (told(), held["progress"]["proportions"]["open"]) == (("/", []), True)
    for image in held["images"]:
        reply = post(anna, {"query": image["queries"][0]["query"], "void": True})
    assert reply.json()["progress"]["proportions"]["open"] is False
    assert [page for page, row in reply.json()["progress"].items() if row["open"]] == ["pixel"]
    site.close(0)
    desk.refresh(now=True)
    assert told() == ("/", [])


def test_a_link_leads_to_the_page_of_a_run_without_points(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1, kinds=("coarse",))
    browser = client(site, site.app())
    token = {"token": open_secret(site.ledger()).token("anna")}
    assert browser.post("/api/session", json=token).json()["path"] == "/coarse"
    post(browser, {"query": work(browser, kind="coarse")["images"][0]["queries"][0]["query"], "void": True})
    assert browser.post("/api/session", json=token).json()["path"] == "/coarse"


def test_leases_are_renewed_and_given_back_on_the_page_that_is_left(tmp_path: Path):
    kinds = ("pixel", "proportions")
    site = annotation_site.site(tmp_path, images=1, annotators=("anna", "ben"), kinds=kinds)
    desk, start = site.desk(), time.time()
    desk.clock = lambda: start
    app = site.app(desk)
    anna, ben = client(site, app, "anna"), client(site, app, "ben")
    (image,) = work(anna)["images"]
    work(anna, kind="proportions")
    desk.clock = lambda: start + desk.lifetime
    for browser in (anna, ben):
        assert browser.post("/api/alive", json={"images": [image["image"]]}).json() == {}
    desk.clock = lambda: start + 2 * desk.lifetime
    assert [work(ben, kind=kind)["images"] for kind in kinds] == [[], []]
    for browser in (ben, anna):
        assert browser.post("/api/release", json={"kind": "pixel", "images": [image["image"]]}).json() == {}
        assert anna.get(image["url"]).status_code == 200  # a page that is left and opened again may be quicker
    assert [len(work(ben, kind=kind)["images"]) for kind in kinds] == [1, 0]
