"""What many tests look at: one uninterrupted tiny run, and one pool of windows with all they were made of."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import tiny
from layouts import write_folder
from pools import make_pool

from pipelines import chunks
from pipelines.pool import Pool
from weakseg.datasets import Record, open_layout, records


@pytest.fixture(scope="session")
def finished_run(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished tiny run: its storage root and what the command returned."""
    root = tmp_path_factory.mktemp("finished")
    return root, tiny.run("active", root, address=ray_session)


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, list[Record]]:
    """A pool of windows whose parts have several row groups of 4, and the records it was made of."""
    folder = tmp_path_factory.mktemp("pool")
    layout = open_layout("folder", str(write_folder(folder / "data", images=13, nested=True)), seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "ROW_GROUP", 4)
        patch.setattr("pipelines.manifest.ROW_GROUP", 4)
        pool = make_pool(layout, folder / "root", tile=(15, 20), segments=6)
    return pool, [record for source in layout.sources() for record in records(layout, source, tile=(15, 20))]


@pytest.fixture
def server() -> Iterator[tuple[str, list[int]]]:
    """The address of what looks like a tracking server, and a list of what it answers to a call for its health."""
    answers = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers[0] if self.path == "/health" else 500)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            known = self.headers.get("Authorization") in (None, "Bearer right")
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(b"{}" if known else b"You are not\n authenticated")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", answers
        http.shutdown()
