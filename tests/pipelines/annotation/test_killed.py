"""The server killed in the middle of the answers of four annotators: a real uvicorn, SIGKILL, and again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import annotation_site
import pytest
from simulated_annotator import Annotator, start

from pipelines.annotation.desk import Desk

PEOPLE = ("anna", "ben", "carl", "dora")
REPOSITORY = Path(__file__).parents[3]


class Server:
    """`weakseg annotate` in a process of its own."""

    def __init__(self, site: annotation_site.Site, port: int) -> None:
        settings = {
            "run": site.config.run,
            "storage.root": site.root,
            "data.layout": "folder",
            "data.path": site.root,
            "data.images": "null",
            "labelling.browser.port": port,
            "labelling.browser.annotators": f"[{', '.join(PEOPLE)}]",
        }
        overrides = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "annotate", "--config", "demo", *overrides],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.links = {}
        while len(self.links) < len(PEOPLE):
            line = self.process.stdout.readline()
            assert line, "the server ended before it printed its links"
            if " answers at " in line:
                who, _, link = line.strip().rpartition(" answers at ")
                self.links[who.rpartition(": ")[2]] = link
        self.port = int(link.partition("/enter")[0].rpartition(":")[2])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def server(site: annotation_site.Site, port: int = 0) -> Iterator[Server]:
    made = Server(site, port)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.kill()


def until(annotators: list[Annotator], asked: Desk, share: float) -> None:
    """Wait until so much is stored; answers whose acknowledgement was lost count too."""
    deadline = time.monotonic() + 120
    while not asked.rounds[0].complete(share):
        assert time.monotonic() < deadline, [annotator.errors for annotator in annotators]
        time.sleep(0.05)
        asked.refresh(now=True)


def killed(tmp_path: Path, *, images: int, pixels: int, kills: int, repeat: float) -> None:
    overrides = [f"labelling.repeat={repeat}"] if repeat else []
    site = annotation_site.site(tmp_path, images=images, pixels=pixels, annotators=PEOPLE, overrides=overrides)
    asked = site.desk()
    copies = {question.place: question.copies for question in asked.rounds[0].questions}
    wanted = sum(copies.values())
    with server(site) as first:
        annotators = [Annotator(link) for link in first.links.values()]
        threads = start(annotators)
        until(annotators, asked, 1 / (kills + 1))
        first.kill()
        links, port = first.links, first.port
    for kill in range(1, kills + 1):
        with server(site, port) as again:
            assert again.links == links  # whoever has the page open goes on with it
            until(annotators, asked, (kill + 1) / (kills + 1))
            again.kill()
    for annotator in annotators:
        annotator.stop.set()
    for thread in threads:
        thread.join()
    assert not any(annotator.errors for annotator in annotators)
    rows = asked.answers.since()
    acknowledged = [row["id"] for annotator in annotators for row in annotator.acknowledged]
    assert set(acknowledged) <= {row.answer_id for row in rows}
    assert len(rows) == len({(row.place, row.annotator) for row in rows}) == wanted
    people = {place: [row.annotator for row in rows if row.place == place] for place in copies}
    assert {place: len(names) for place, names in people.items()} == copies


def test_killed_and_started_again_loses_and_doubles_nothing(tmp_path: Path):
    killed(tmp_path, images=24, pixels=6, kills=1, repeat=0.1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_three_times_in_a_thousand_answers(tmp_path: Path):
    killed(tmp_path, images=100, pixels=10, kills=3, repeat=0.0)
