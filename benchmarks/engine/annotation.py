"""The annotation page: from a key press to the next point on the screen, and four people at ten answers a second each.

A driver asks a round of a `demo` with more questions; the page is served by a process of its own, whose memory is
watched. The browser is the system's Chromium without a window.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.engine.harness import ENVIRONMENT, BenchmarkError

AIM_MS = 50.0
PEOPLE = 4
RATE = 10.0
"""Answers a second of each person."""

WARM = 10
"""Key presses that are not counted, and seconds after which memory is first read."""

PAUSE = 0.15
"""Seconds between key presses: a person needs more."""

SETTINGS = {
    "run": "bench",
    "data.images": 240,
    "labelling.pixels_per_image": 40,
    "labelling.annotator": "browser",
    "labelling.browser.port": 0,
    "labelling.browser.annotators": f"[{', '.join(f'person-{number}' for number in range(PEOPLE + 1))}]",
}

WATCH = """
window.presses = [];
window.addEventListener("keydown", (event) => {
  const root = document.documentElement, before = root.dataset.query;
  const look = () => requestAnimationFrame(() => {
    // The message comes after the frame is painted.
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      if (root.dataset.query && root.dataset.query !== before) window.presses.push(performance.now() - event.timeStamp);
      else look();
    };
    channel.port2.postMessage(0);
  });
  look();
}, true);
"""


def run(*, pairs: int, sizes: tuple[int, int] = (300, 60), progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure both.

    Args:
        pairs: Ignored: nothing is compared.
        sizes: Key presses, and seconds of four people at work.
        progress: Called with one line after each part.

    Returns:
        `press`: milliseconds p50 and p95 and their aim; `people`: answers, errors, lost answers, milliseconds of a
        reply p50 and p95, and memory of the server in MiB at the start and the end.
    """
    presses, seconds = sizes
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder, _asked(Path(folder)) as (server, links):
        press = _press(links[PEOPLE], presses)
        progress(f"key press to next point: p50 {press['p50']:.1f} ms, p95 {press['p95']:.1f} ms")
        people = _work(links[:PEOPLE], server, seconds)
        progress(
            f"{PEOPLE} people: {people['answers']} answers, {people['errors']} errors, {people['lost']} lost, "
            f"{people['memory_mib'][0]:.1f} to {people['memory_mib'][1]:.1f} MiB"
        )
    return {"aim": AIM_MS, "press": press, "people": people}


@contextmanager
def _asked(folder: Path) -> Iterator[tuple[psutil.Process, list[str]]]:
    """A run that asks, and its page in a process of its own: that process, and the links."""
    with _started("active", folder, ["labelling.browser.serve=false"]) as (_, driver):
        _wait(folder, driver, re.compile("serve the page with"), 1)
        with _started("annotate", folder, []) as (process, page):
            links = _wait(folder, page, re.compile(r"answers at (\S+)"), PEOPLE + 1)
            _until_asked(links[0])
            yield psutil.Process(process.pid), links


@contextmanager
def _started(verb: str, folder: Path, more: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    settings = [f"storage.root={folder / 'storage'}", *(f"{name}={value}" for name, value in SETTINGS.items()), *more]
    log = folder / f"{verb}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", verb, "--config", "demo"]
            + [part for setting in settings for part in ("--set", setting)],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(folder: Path, log: Path, pattern: re.Pattern[str], count: int, patience: float = 300.0) -> list[str]:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = pattern.findall(log.read_text(errors="replace"))
        if len(found) >= count:
            return found
        time.sleep(0.2)
    raise BenchmarkError(f"{log.name} did not come up:\n" + log.read_text(errors="replace")[-2000:])


def _until_asked(link: str, patience: float = 120.0) -> None:
    with _Person(link) as person:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if person.get("/api/state")["phase"] == "asking":
                return
            time.sleep(0.2)
    raise BenchmarkError("the driver asked nothing")


def _press(link: str, presses: int) -> dict[str, float]:
    """Press a class's key again and again in a browser."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise BenchmarkError("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.add_init_script(WATCH)
        page.goto(link)
        page.locator("html:not([data-query=''])[data-query]").wait_for()
        for number in range(presses + WARM):
            page.keyboard.press("123456"[number % 6])
            time.sleep(PAUSE)
        page.locator("#saved[data-state=saved]").wait_for()
        found = np.array(page.evaluate("window.presses"), np.float64)[WARM:]
        browser.close()
    if found.size < presses - 1:
        raise BenchmarkError(f"only {found.size} of {presses} key presses brought another point")
    return {"count": int(found.size), **_quantiles(found), "most": float(found.max())}


@dataclass
class _Person:
    """One annotator over HTTP."""

    link: str
    stored: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __enter__(self) -> "_Person":
        import httpx

        url = httpx.URL(self.link)
        base = f"{url.scheme}://{url.host}:{url.port}"
        self.client = httpx.Client(base_url=base, headers={"origin": base}, timeout=30)
        self.client.post("/api/session", json={"token": url.fragment}).raise_for_status()
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def work(self, seconds: float) -> None:
        """Answer at the rate, as long as there are questions; what is late is made up for. Any failure is an error."""
        try:
            self._work(seconds)
        except Exception as error:  # in a thread of its own it would be seen by nobody
            self.errors.append(f"{type(error).__name__}: {error}")

    def _work(self, seconds: float) -> None:
        start, number = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            asked = [query for image in self.get("/api/work?images=3")["images"] for query in image["queries"]]
            asked = [query["query"] for query in asked if query["answer"] is None]
            if not asked:
                self.errors.append("nothing left to ask")
                return
            for query in asked:
                time.sleep(max(0.0, start + number / RATE - time.monotonic()))
                if time.monotonic() - start >= seconds:
                    return
                self.answer(query, number % 6)
                number += 1

    def answer(self, query: str, class_id: int) -> None:
        """One answer, timed until its acknowledgement."""
        began = time.monotonic()
        body = {"answers": [{"query": query, "class": class_id, "seconds": 0.1, "replaces": None}]}
        reply = self.client.post("/api/answers", json=body)
        self.seconds.append(time.monotonic() - began)
        if reply.status_code == 200:
            self.stored.add(reply.json()["answers"][0]["id"])
        else:
            self.errors.append(reply.text)

    def kept(self) -> set[str]:
        """All of my answers that the server holds."""
        found: set[str] = set()
        before = ""
        while True:
            rows = self.get(f"/api/history?limit=500{before}")["history"]
            found |= {row["answer"]["id"] for row in rows}
            if len(rows) < 500:
                return found
            before = f"&before={rows[-1]['answer']['id']}"


def _work(links: list[str], server: psutil.Process, seconds: float) -> dict[str, Any]:
    """Let people answer for a while."""
    people = [_Person(link).__enter__() for link in links]
    threads = [threading.Thread(target=person.work, args=(seconds,)) for person in people]
    for thread in threads:
        thread.start()
    memory = []
    for thread in threads:
        while thread.is_alive():
            memory.append(server.memory_full_info().uss / 2**20)
            thread.join(timeout=1.0)
    times = np.concatenate([person.seconds for person in people]) * 1000
    lost = sum(len(person.stored - person.kept()) for person in people)
    for person in people:
        person.client.close()
    first = memory[min(WARM, len(memory) - 1)]
    return {
        "people": len(people),
        "seconds": seconds,
        "answers": sum(len(person.stored) for person in people),
        "errors": sum(len(person.errors) for person in people),
        "lost": lost,
        "reply": _quantiles(times),
        "memory_mib": [first, memory[-1]],
    }


def _quantiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    p50, p95 = np.quantile(values, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95)}
