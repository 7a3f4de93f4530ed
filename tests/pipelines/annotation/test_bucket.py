"""A run on S3: an answer is in the bucket before it is acknowledged, whatever becomes of the machine that took it."""

from pathlib import Path

import annotation_site
import pytest
from annotation_site import client

from pipelines.annotation.desk import Desk, Entry

pytestmark = pytest.mark.s3


def answer_all(desk: Desk) -> int:
    count = 0
    while (found := desk.work("anna", "pixel", 8)) is not None and found[1]:
        standing, image_ids = found
        for image_id in image_ids:
            for question in standing.by_image["pixel", image_id]:
                if standing.mine(question, "anna") is None:
                    desk.add("anna", [Entry(question, 1, None, 1.0, "")])
                    count += 1
    return count


def test_answers_outlive_the_machine(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    site = annotation_site.site(tmp_path, images=3, root=f"s3://{bucket}/weakseg-test/{tmp_path.name}")
    browser = client(site, site.app())
    acknowledged = []
    for image in browser.get("/api/work?images=1").json()["images"]:
        assert browser.get(image["url"]).status_code == 200
        for query in image["queries"]:
            body = {"answers": [{"query": query["query"], "class": 2, "seconds": 1.0, "replaces": None}]}
            reply = browser.post("/api/answers", json=body)
            acknowledged.append(reply.json()["answers"][0]["id"])
            assert len(site.ledger().storage.list("runs/asked/answers")) == len(acknowledged)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    desk = site.desk()
    assert [row.answer_id for row in desk.answers.since()] == acknowledged
    assert answer_all(desk) == 6
    desk.answers.close()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "three"))  # the driver's machine
    labels = site.close(0)
    assert sorted(labels["class_id"].to_pylist()) == [1] * 6 + [2] * 3


def test_answers_that_wait_in_the_browser_are_taken_by_another_machine(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    root = f"s3://{bucket}/weakseg-test/{tmp_path.name}"
    site = annotation_site.site(tmp_path, images=3, root=root, annotators=("anna", "ben"))
    anna = client(site, site.app())
    images = anna.get("/api/work?images=2").json()["images"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    desk = site.desk()
    app = site.app(desk)
    ben = client(site, app, "ben")
    theirs = [image["image"] for image in ben.get("/api/work?images=8").json()["images"]]
    assert len(theirs) == 1
    assert theirs[0] not in [image["image"] for image in images]
    again = client(site, app, None)
    again.cookies = anna.cookies  # whoever has the page open goes on with it
    for image in images:
        assert again.get(image["url"]).status_code == 200
        for query in image["queries"]:
            body = {"answers": [{"query": query["query"], "class": 2, "seconds": 0.001, "replaces": None}]}
            assert again.post("/api/answers", json=body).status_code == 200
    assert [row.seconds for row in desk.answers.since()] == [0.001] * 6
    assert client(site, app, "anna").get("/api/state").json()["annotator"] == "anna"  # the link is the same
    desk.answers.close()
