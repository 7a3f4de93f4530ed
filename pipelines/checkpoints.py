"""The checkpoints of a training in the storage: folders of Ray Train's run directory, read and written by key.

A checkpoint's name says how far the training had come, so that a step that is taken again writes the same one. What is
there decides, and not Ray Train's own list of it: that lags behind by what the controller has not asked for yet, and a
crash can cut it short.
"""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import ray
import ray.train
from ray.train import Checkpoint, CheckpointUploadMode

from pipelines.plain import plain
from pipelines.storage import Storage
from weakseg.training import state as training_state

CHECKPOINT = "state.pt"
HISTORY = "history.json"
SNAPSHOT = "checkpoint_manager_snapshot.json"

MOST_WAITING = 2
"""Checkpoints on a worker's disk that wait for their upload; then the training waits too."""


def checkpoint_name(epoch: int, step: int = 0) -> str:
    """The folder of the checkpoint after so many epochs, and so many steps of the next."""
    return f"epoch-{epoch:04d}" + (f"-step-{step:08d}" if step else "")


def newest(storage: Storage, folder: str) -> str | None:
    """The name of the checkpoint that has come furthest, of those that are there as a whole; None if none is.

    Args:
        storage: Where it lies.
        folder: The key of Ray Train's run directory.
    """
    for name in _names(storage, folder):
        if all(storage.exists(f"{folder}/{name}/{file}") for file in (CHECKPOINT, HISTORY)):
            return name
    return None


def load_state(storage: Storage, key: str) -> dict[str, Any]:
    """A checkpoint's state (:func:`weakseg.training.load`)."""
    with tempfile.TemporaryDirectory() as folder:
        storage.download_folder(key, Path(folder))
        return training_state.load(Path(folder) / CHECKPOINT)


def finished_epochs(storage: Storage, folder: str) -> list[dict[str, Any]]:
    """The metrics of all epochs up to the newest checkpoint that is there as a whole."""
    for name in _names(storage, folder):
        try:
            return json.loads(storage.read_bytes(f"{folder}/{name}/{HISTORY}"))["epochs"]
        except (FileNotFoundError, ValueError):
            continue
    return []


def forget_unreadable(storage: Storage, folder: str) -> None:
    """Take away a list of checkpoints that Ray Train could not load, so that it starts with an empty one.

    Ray writes the list in place, and another version may write it differently. The checkpoints themselves stay, the
    list under another name for whoever wonders.
    """
    key = f"{folder}/{SNAPSHOT}"
    try:
        content = storage.read_bytes(key)
    except FileNotFoundError:
        return
    try:
        snapshot = json.loads(content)
        names = [entry["checkpoint_dir_name"] for entry in snapshot["checkpoint_results"]]
        same = snapshot["ray_version"] == ray.__version__
        readable = same and all(storage.exists(f"{folder}/{name}/{CHECKPOINT}") for name in names)
    except (ValueError, KeyError, TypeError):
        readable = False
    if not readable:
        storage.write_bytes(f"{folder}.unreadable.json", content)
        storage.delete_tree(key)


class Saver:
    """One rank's reports to Ray Train; the upload of a checkpoint runs beside the training.

    Args:
        storage: Where checkpoints go.
        folder: The key of Ray Train's run directory.
        spec: The model's, kept beside the history.
    """

    def __init__(self, storage: Storage, folder: str, spec: Mapping[str, Any]) -> None:
        """Nothing is written yet."""
        self._storage, self._folder, self._spec = storage, folder, spec
        self._writes = ray.train.get_context().get_world_rank() == 0
        # Ray compares file systems: a checkpoint must lie on its own.
        self._fs = ray.train.get_context().get_storage().storage_filesystem
        self._waiting = BoundedSemaphore(MOST_WAITING)

    def report(self, name: str, state: Callable[[], Mapping[str, Any]]) -> None:
        """Report a checkpoint, on every rank; the first one writes it.

        Args:
            name: Its folder.
            state: Gives what to save; called where it is saved.
        """
        checkpoint = None
        if self._writes:
            self._waiting.acquire()
            folder = Path(tempfile.mkdtemp(prefix="weakseg-"))  # Ray deletes it after the upload
            content = state()
            training_state.save(folder / CHECKPOINT, content)
            (folder / HISTORY).write_text(json.dumps({"spec": self._spec, "epochs": plain(content["history"])}))
            checkpoint = Checkpoint.from_directory(folder)
        ray.train.report(
            {},
            checkpoint=checkpoint,
            checkpoint_dir_name=name,
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=self._upload,
        )

    def _upload(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        # Arrow uploads in parts, whose end fails when the reply to it is lost; the storage puts each file at once.
        try:
            key = f"{self._folder}/{name}"
            self._storage.upload_folder(key, Path(checkpoint.path))
            return Checkpoint(path=f"{self._storage.path}/{key}", filesystem=self._fs)
        finally:
            self._waiting.release()


def _names(storage: Storage, folder: str) -> list[str]:
    """The checkpoints, the one that has come furthest first."""
    names = [name for name in storage.folders(folder) if name.startswith("epoch-")]
    return sorted(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], reverse=True)
