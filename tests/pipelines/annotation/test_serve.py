"""Who may answer, as the driver and the page of its own understand it."""

from pathlib import Path

import annotation_site
import pytest

from pipelines.annotation import serve
from pipelines.config import Config, load
from pipelines.console import Console
from weakseg.errors import WeaksegError


def renamed(config: Config, *overrides: str) -> Config:
    """The same run with other settings of the page."""
    settings = [
        f"run={config.run}",
        f"storage.root={config.storage.root}",
        "labelling.annotator=browser",
        "labelling.browser.port=0",
        *overrides,
    ]
    return load("demo", settings)


def test_the_page_alone_asks_those_whom_the_driver_counts_on(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1, annotators=("anna", "ben"), overrides=["labelling.repeat=1.0"])
    plain = serve.open_desk(renamed(site.config), site.ledger())
    assert plain.people == ("anna", "ben")
    named = serve.open_desk(renamed(site.config, "labelling.browser.annotators=[carl]"), site.ledger())
    assert named.people == ("carl",)
    for desk in (plain, named):
        desk.answers.close()


def test_the_driver_says_that_nothing_is_asked_twice_of_one(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=1, overrides=["labelling.repeat=1.0"])
    lines: list[str] = []
    console = Console()
    console.line = lines.append  # type: ignore[method-assign]
    with site.held() as ledger, serve.asking(site.config, ledger, console):
        pass
    assert "labelling.repeat" in "\n".join(lines)


def test_a_page_that_others_reach_needs_names(tmp_path: Path):
    config = annotation_site.site(tmp_path, images=1).config
    site = annotation_site.site(tmp_path / "nobody", images=1, overrides=["labelling.browser.annotators=[]"])
    plain = ["labelling.annotator=oracle", "labelling.browser.host=0.0.0.0"]  # as a recipe says that knows no page
    with pytest.raises(WeaksegError, match="labelling.browser.annotators"):
        serve.annotate(renamed(site.config, *plain), Console())
    assert serve.named(renamed(config, *plain), annotation_site.Site(config.storage.root, config, site.pool).ledger())
