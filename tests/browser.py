"""A browser for tests of the annotation page: Debian's Chromium, driven by Playwright, every complaint of it kept."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from annotation_site import Site
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
AXE = "WEAKSEG_AXE"
SHOWN = re.compile(".+")

expect.set_options(timeout=20_000)  # other work may share the machine


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium without a window; skips where there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        # Root may not sandbox; the pages are our own.
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


class Visit:
    """One annotator's tab.

    Args:
        page: The tab.
        url: Where the server is.
        links: Each annotator's link.
        site: What it serves, where that is a test's own.
    """

    def __init__(self, page: Page, *, url: str, links: dict[str, str], site: Site | None = None) -> None:
        self.page, self.url, self.links = page, url, links
        self._site = site
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"{error}"))

    @property
    def site(self) -> Site:
        """What is served."""
        assert self._site is not None
        return self._site

    def enter(self, annotator: str = "anna", path: str = "/") -> None:
        """Open the annotator's link, then a page; ends when its first question is shown."""
        self.page.goto(self.links[annotator])
        self.page.wait_for_url(f"{self.url}/")
        if path != "/":
            self.page.goto(self.url + path)
        self.shown()

    def shown(self) -> str:
        """Wait until a question is shown; its handle."""
        expect(self.page.locator("html")).to_have_attribute("data-query", SHOWN)
        return str(self.page.locator("html").get_attribute("data-query"))

    def press(self, key: str) -> str:
        """Press a key and wait for another question, if there is one; the handle of the one it was pressed at."""
        before = self.shown()
        self.page.keyboard.press(key)
        expect(self.page.locator("html")).not_to_have_attribute("data-query", before)
        return before

    def saved(self) -> None:
        """Wait until nothing is on its way."""
        expect(self.page.locator("#saved")).to_have_attribute("data-state", "saved")

    def where(self, handle: str) -> tuple[str, int, int]:
        """The image_id, y and x of a question."""
        _, question = self.site.page().question(handle)
        return question.image_id, question.place[3], question.place[4]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


def axe_script() -> str:
    """axe-core; skips where it is missing."""
    named = os.environ.get(AXE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weakseg"
    places = [Path(named)] if named else [cache / "node_modules" / "axe-core" / "axe.min.js"]
    for place in places:
        if place.is_file():
            return place.read_text()
    pytest.skip(f"no axe-core: npm install --prefix {cache} axe-core, or {AXE}=/path/to/axe.min.js")


def violations(page: Page, script: str) -> list[dict[str, Any]]:
    """What axe-core finds serious or critical."""
    page.evaluate(f"{script}; undefined")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        {"id": rule["id"], "help": rule["help"], "where": [node["target"] for node in rule["nodes"]]}
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
