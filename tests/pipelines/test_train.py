"""The train stage on Ray Train: a worker that dies, a snapshot that cannot be read, what a user gets wrong."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import tiny

from pipelines import train

pytestmark = pytest.mark.ray


@pytest.fixture
def untrained(finished_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the finished run whose first round is not trained."""
    root = shutil.copytree(finished_run[0], tmp_path / "copy")
    shutil.rmtree(root / "runs/tiny/rounds/000/train")
    (root / "runs/tiny/rounds/000/model.safetensors").unlink()
    return root


def test_killed_worker_goes_on_from_the_last_epoch(untrained: Path, finished_run: tuple[Path, dict[str, Any]]) -> None:
    killed: list[int] = []

    def kill_once(epochs: list[dict[str, Any]]) -> None:
        if not killed and len(epochs) == 1:
            killed.extend(tiny.actors("RayTrainWorker")[:1])
            os.kill(killed[0], signal.SIGKILL)

    with tiny.reopened(untrained) as (config, ledger):
        history = train.run(config, ledger, 0, console=tiny.console(), on_epochs=kill_once)
    assert killed, "training was over before its first epoch was seen"
    assert [row["epoch"] for row in history] == [1, 2]
    model = Path("runs/tiny/rounds/000/model.safetensors")
    assert (untrained / model).read_bytes() == (finished_run[0] / model).read_bytes()


def test_snapshot_cut_short_is_moved_aside(tmp_path: Path) -> None:
    folder = tmp_path / "fit-1"
    folder.mkdir()
    (folder / "checkpoint_manager_snapshot.json").write_text('{"checkpoint_results": [{"checkp')
    train._move_unreadable_aside(folder)
    assert not folder.exists()
    assert (tmp_path / "fit-1.unreadable").exists()


def test_snapshot_that_names_a_missing_checkpoint_is_moved_aside(tmp_path: Path) -> None:
    folder = tmp_path / "fit-1"
    folder.mkdir()
    snapshot = folder / "checkpoint_manager_snapshot.json"
    snapshot.write_text('{"checkpoint_results": [{"checkpoint_dir_name": "epoch-0001"}]}')
    train._move_unreadable_aside(folder)
    assert not folder.exists()


def test_readable_snapshot_stays(tmp_path: Path) -> None:
    folder = tmp_path / "fit-1"
    (folder / "epoch-0001").mkdir(parents=True)
    (folder / "epoch-0001" / train.CHECKPOINT).write_bytes(b"")
    snapshot = folder / "checkpoint_manager_snapshot.json"
    snapshot.write_text('{"checkpoint_results": [{"checkpoint_dir_name": "epoch-0001"}]}')
    train._move_unreadable_aside(folder)
    assert snapshot.exists()
