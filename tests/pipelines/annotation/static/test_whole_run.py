"""A person answers a whole round in the browser, and the driver goes on with exactly those labels."""

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
import tiny
from browser import Visit, chromium
from playwright.sync_api import expect

from pipelines.annotation.security import Secret
from pipelines.ledger import Ledger
from pipelines.storage import open_storage

pytestmark = [pytest.mark.browser, pytest.mark.ray]

REPOSITORY = Path(__file__).parents[4]
KEYS = ("1", "2", "3", "4", "5", "6")


def link_of(driver: subprocess.Popen[str], lines: list[str]) -> str:
    """The link that the driver prints."""
    pause = threading.Event()
    while True:
        for line in list(lines):
            if " answers at " in line:
                return line.strip().rpartition(" answers at ")[2]
        assert driver.poll() is None, "".join(lines)
        pause.wait(0.1)


def test_the_driver_finishes_a_round_with_the_labels_of_a_person(ray_session: str, tmp_path: Path):
    changes = {
        "labelling__annotator": "browser",
        "labelling__rounds": "1",
        "labelling__pixels_per_image": "2",
        "labelling__browser__port": "0",
        "labelling__browser__annotators": "[anna]",
        "training__epochs": "1",
        "evaluate__test": "false",
    }
    driver = subprocess.Popen(
        tiny.command("active", tmp_path, **changes),
        env={**os.environ, "RAY_ADDRESS": ray_session, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(driver.stdout), daemon=True).start()
    try:
        link = link_of(driver, lines)
        with chromium() as browser:
            tab = Visit(browser.new_page(), url=link.partition("/enter")[0], links={"anna": link})
            given = answer_all(tab)
            expect(tab.page.locator("#rest-title")).to_have_text("This round is answered")
            assert tab.complaints == []
        assert driver.wait(timeout=240) == 0, "".join(lines)[-3000:]
    finally:
        driver.kill()
        driver.wait()
    assert json.loads(lines[-1])["rounds"]
    ledger = Ledger.read(open_storage(tmp_path), "tiny")
    found = {(row["image_id"], row["y"], row["x"]): row["class_id"] for row in ledger.labels().to_pylist()}
    secret = Secret.kept(tmp_path / "runs" / "tiny" / "annotation.secret")
    queries = ledger.read_table("rounds/000/asked.parquet").to_pylist()
    asked = [(row["image_id"], row["y"], row["x"]) for row in queries]
    assert found == {asked[secret.numbers("query", handle)[1]]: class_id for handle, class_id in given.items()}
    assert len(found) == len(asked)


def answer_all(tab: Visit) -> dict[str, int]:
    """Answer a round by key presses only: two answers undone and changed, a reload in the middle."""
    tab.enter()
    given: dict[str, int] = {}
    bar = tab.page.locator("#bar")
    total = int(bar.get_attribute("max"))
    for step in range(total // 2):
        given[tab.press(KEYS[step % 6])] = step % 6
    undone = []
    for _ in range(2):
        tab.press("Backspace")
        undone.append(tab.shown())
    assert undone == list(given)[:-3:-1]
    for handle in reversed(undone):
        changed = (given[handle] + 1) % 6
        assert tab.press(KEYS[changed]) == handle
        given[handle] = changed
    tab.page.reload()
    tab.shown()
    while len(given) < total:
        step = len(given)
        handle = tab.press(KEYS[step % 6])
        assert handle not in given
        given[handle] = step % 6
    tab.saved()
    return given
