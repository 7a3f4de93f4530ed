"""The score stage: the same pixels whatever the number of actors, the order of parts, or an actor's death."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from pipelines import parts, score

pytestmark = pytest.mark.ray
SCORED = Path("runs/tiny/rounds/000/scored.parquet")


@pytest.fixture
def unscored(finished_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the finished run whose first round's model has not scored the pool."""
    root = shutil.copytree(finished_run[0], tmp_path / "copy")
    (root / SCORED).unlink()
    return root


def test_same_selection_with_two_actors_in_reverse_order(
    unscored: Path, finished_run: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = parts.over_parts
    monkeypatch.setattr(score, "over_parts", lambda config, numbers, *rest: forward(config, numbers[::-1], *rest))
    with tiny.reopened(unscored, cluster__actors="2") as (config, ledger):
        scored = score.run(config, ledger, 0, console=tiny.console())
    assert scored.equals(pq.read_table(finished_run[0] / SCORED))


def test_killed_actor_changes_nothing(unscored: Path, finished_run: tuple[Path, dict[str, Any]]) -> None:
    killed: list[int] = []

    def kill_first() -> None:
        while not killed:
            killed.extend(tiny.actors("_MapWorker")[:1] or tiny.actors("MapWorker")[:1])
            time.sleep(0.02)
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_first, daemon=True)
    with tiny.reopened(unscored) as (config, ledger):
        thread.start()
        scored = score.run(config, ledger, 0, console=tiny.console())
    thread.join(timeout=5)
    assert killed
    assert scored.equals(pq.read_table(finished_run[0] / SCORED))


def test_never_asks_twice(finished_run: tuple[Path, dict[str, Any]]) -> None:
    rows = pq.read_table(finished_run[0] / SCORED).to_pylist()
    asked = pq.read_table(finished_run[0] / SCORED.with_name("queries.parquet")).to_pylist()
    pixels = [{(row["image_id"], row["y"], row["x"]) for row in table} for table in (rows, asked)]
    assert not pixels[0] & pixels[1]
    assert len(rows) == len(pixels[0])


def test_where_nothing_is_left_to_ask_nothing_is_chosen(unscored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(score.Scorer):
        def __call__(self, part: int) -> pa.Table:
            return super().__call__(part)[:0]

    monkeypatch.setattr(score, "Scorer", Exhausted)
    with tiny.reopened(unscored) as (config, ledger):
        scored = score.run(config, ledger, 0, console=tiny.console())
    assert scored.schema.equals(score.SCORED)
    assert not scored.num_rows
