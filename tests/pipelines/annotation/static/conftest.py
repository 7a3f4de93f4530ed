"""The real pages in a browser; a complaint of the console, such as a breach of the security policy, fails a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import annotation_site
import pytest
from browser import Visit, chromium
from playwright.sync_api import Browser

from pipelines.annotation import desk, static_files


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real pages, in place of the stand-ins of the server's tests."""
    monkeypatch.setattr(desk, "LOOK_SECONDS", {True: 0.0, False: 0.0})  # a round that a test closes is closed at once
    return static_files.STATIC


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Serves a site and opens a tab: visit(site options, context={...}, site=...); complaints fail the test."""
    with ExitStack() as stack:
        visits = []

        def start(*, context: dict[str, Any] | None = None, beside: Visit | None = None, **options: Any) -> Visit:
            if beside is None:
                site = annotation_site.site(tmp_path, **options)
                served = stack.enter_context(annotation_site.serve(site))
            else:
                site, served = beside.site, beside
            opened = browser.new_context(**{"viewport": {"width": 1280, "height": 760}, **(context or {})})
            stack.callback(opened.close)
            visits.append(Visit(opened.new_page(), url=served.url, links=served.links, site=site))
            return visits[-1]

        yield start
        for one in visits:
            assert one.complaints == []
