"""People answer a whole run without masks through the page: the real command line on a real Ray, killed on its way."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
from simulated_annotator import Annotator, fingerprint, start

from pipelines.ledger import Ledger
from pipelines.storage import open_storage
from weakseg import codec
from weakseg.datasets import open_layout

pytestmark = pytest.mark.ray

REPOSITORY = Path(__file__).parents[3]
SIZE = (48, 64)


def unmasked_scenes(folder: Path, images: int) -> dict[str, np.ndarray]:
    """Generated scenes as a folder of images without masks; what they show, by fingerprint."""
    layout = open_layout("scenes", None, seed=0, images=images, size=SIZE)
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "classes.yaml").write_text(layout.classes.to_yaml())
    truth = {}
    for number, source in enumerate(layout.sources()):
        image, mask = layout.read(source)
        assert mask is not None
        image_HW3 = codec.decode_image(image)
        (folder / "images" / "train" / f"{number:03d}.png").write_bytes(codec.encode_png(image_HW3))
        truth[fingerprint(image_HW3)] = layout.decode_mask(mask)
    return truth


def begin(root: Path, data: Path, address: str, verb: str, **changes: str) -> tuple[subprocess.Popen[str], list[str]]:
    """A command of the tiny run, and the lines that it prints as they come."""
    settings = {
        "data__layout": "folder",
        "data__path": str(data),
        "data__images": "null",
        "labelling__annotator": "browser",
        "labelling__pixels_per_image": "3",
        "labelling__holdout_points": "4",
        "labelling__browser__port": "0",
        "training__early_stopping": "null",
        "training__epochs": "1",
        "evaluate__test": "false",
        **changes,
    }
    process = subprocess.Popen(
        tiny.command(verb, root, **settings),
        env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    return process, lines


def _read(stream: IO[str], lines: list[str]) -> None:
    lines.extend(stream)


def link_of(process: subprocess.Popen[str], lines: list[str]) -> str:
    """The link that a command prints."""
    waiting = threading.Event()
    while True:
        for line in list(lines):
            if " answers at " in line:
                return line.strip().rpartition(" answers at ")[2]
        assert process.poll() is None, "".join(lines)
        waiting.wait(0.1)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_run_without_masks_is_answered_through_the_page(ray_session: str, tmp_path: Path):
    truth = unmasked_scenes(tmp_path / "data", 10)
    root = tmp_path / "storage"
    driver, lines = begin(root, tmp_path / "data", ray_session, "active")
    first = Annotator(link_of(driver, lines), truth, most=7)
    first.run()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert len(first.acknowledged) == 7

    # The page alone, for a driver that does not serve it: they meet in the run's folder.
    page, page_lines = begin(root, tmp_path / "data", ray_session, "annotate")
    second = Annotator(link_of(page, page_lines), truth)
    assert second.token == first.token
    (thread,) = start([second])
    driver, lines = begin(root, tmp_path / "data", ray_session, "active", labelling__browser__serve="false")
    try:
        assert driver.wait(timeout=280) == 0, "".join(lines)[-3000:]
    finally:
        second.stop.set()
        thread.join()
        page.send_signal(signal.SIGINT)
        page.wait(timeout=30)
        for process in (page, driver):
            if process.poll() is None:
                process.kill()
    result = json.loads(lines[-1])
    assert not second.errors
    ledger = Ledger.read(open_storage(root), "tiny")
    held = set(ledger.pool.index("holdout").image_ids.to_pylist())
    assert len(held) == 2
    for number in range(2):
        rows = pq.read_table(root / "runs/tiny/rounds" / f"{number:03d}" / "labels.parquet").to_pylist()
        queries = pq.read_table(root / "runs/tiny/rounds" / f"{number:03d}" / "queries.parquet").to_pylist()
        assert len(rows) == 24
        assert {(row["image_id"], row["y"], row["x"]) for row in rows} == {
            (row["image_id"], row["y"], row["x"]) for row in queries
        }
        for row in rows:
            path = tmp_path / "data" / "images" / f"{row['image_id']}.png"
            mask_HW = truth[fingerprint(codec.decode_image(path.read_bytes()))]
            assert row["class_id"] == mask_HW[row["y"], row["x"]]
            assert row["image_id"] not in held
    acknowledged = {row["id"] for annotator in (first, second) for row in annotator.acknowledged}
    written = {row["answer_id"] for row in ledger.labels().to_pylist()}
    written |= {
        row["answer_id"]
        for number in range(2)
        for row in ledger.read_table(f"rounds/{number:03d}/checks.parquet").to_pylist()
    }
    assert acknowledged <= written
    assert len(written) == 2 * (24 + 8)
    for number, metrics in enumerate(result["rounds"]):
        estimate = metrics["estimate"]
        assert metrics["validation"] is None
        assert estimate["low"] <= estimate["accuracy"] <= estimate["high"]
        assert (estimate["points"], estimate["images"]) == (8 * (number + 1), 2)
    page_text = Path(result["report"]).read_text()
    assert "No image of this data set has a mask" in page_text
    assert "Who answered" in page_text
    assert "estimated accuracy" in "".join(lines)
