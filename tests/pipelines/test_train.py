"""The train stage on Ray Train: a worker that dies, a snapshot that cannot be read, what a user gets wrong."""

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file

from pipelines import train
from weakseg.errors import WeaksegError

pytestmark = pytest.mark.ray


@pytest.fixture
def untrained(finished_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the finished run whose first round is not trained."""
    root = shutil.copytree(finished_run[0], tmp_path / "copy")
    shutil.rmtree(root / "runs/tiny/rounds/000/train")
    (root / "runs/tiny/rounds/000/model.safetensors").unlink()
    return root


def test_killed_worker_goes_on_from_the_last_epoch(
    untrained: Path, finished_run: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    died = untrained / "died"

    def work(settings: dict[str, Any]) -> Any:
        """The real training function, in a worker that is killed once, after its first epoch."""
        from pipelines import train_worker

        fit = train_worker.fit

        def fit_and_die(*arguments: Any, on_epoch: Callable[[Any], None], **options: Any) -> Any:
            def then_die(result: Any) -> None:
                on_epoch(result)
                if not died.exists():
                    died.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

            return fit(*arguments, on_epoch=then_die, **options)

        monkey = pytest.MonkeyPatch()
        monkey.setattr(train_worker, "fit", fit_and_die)
        try:
            return train_worker.work(settings)
        finally:
            monkey.undo()

    monkeypatch.setattr(train, "work", work)
    with tiny.reopened(untrained) as (config, ledger):
        history = train.run(config, ledger, 0, console=tiny.console())
    assert died.exists()
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__batch_size": "3", "cluster__workers": "2"}, "batch_size"),
        ({"model__encoder": "resnet81"}, "resnet18"),
        ({"model__architecture": "unet"}, "squeezenet1_0"),
        ({"loss__class_weights": "[1.0, 2.0]"}, "loss.class_weights: expected 6 numbers, one per class, got 2"),
    ],
)
def test_what_no_worker_could_train_is_refused_at_once(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(WeaksegError, match=re.escape(message)):
        train.check(tiny.config(tmp_path, **changes), classes=6)


def test_weights_that_do_not_fit_are_refused_by_key(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(3, 3)}, file)
    with pytest.raises(WeaksegError, match=r"features\.0\."):
        train.check(tiny.config(tmp_path, model__weights=str(file)), classes=6)
