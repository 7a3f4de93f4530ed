"""Which checkpoint a training goes on from, by what lies in the storage."""

import json
from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines.checkpoints import SNAPSHOT, checkpoint_name, finished_epochs, forget_unreadable, load_state, newest
from pipelines.storage import Storage, open_storage
from weakseg.training import save

FOLDER = "runs/r/rounds/000/train/fit-1"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def add(storage: Storage, name: str, *, epochs: int = 0, state: bool = True) -> None:
    storage.write_bytes(f"{FOLDER}/{name}/history.json", json.dumps({"epochs": [{"epoch": 1}] * epochs}).encode())
    if state:
        storage.write_bytes(f"{FOLDER}/{name}/state.pt", b"")


def test_the_newest_is_the_one_that_has_come_furthest(storage: Storage):
    for point in [(0, 16), (1, 0), (1, 16), (1, 128), (2, 0), (11, 0), (11, 3), (9999, 0), (10_000, 0), (10_000, 4)]:
        add(storage, checkpoint_name(*point))
        assert newest(storage, FOLDER) == checkpoint_name(*point)


def test_the_newest_is_one_that_is_there_as_a_whole(storage: Storage):
    assert newest(storage, FOLDER) is None
    add(storage, checkpoint_name(1))
    add(storage, checkpoint_name(1, 16))
    add(storage, checkpoint_name(2), state=False)
    storage.write_bytes(f"{FOLDER}/other/state.pt", b"")
    assert newest(storage, FOLDER) == "epoch-0001-step-00000016"


def test_finished_epochs_are_read_off_the_newest(storage: Storage):
    assert finished_epochs(storage, FOLDER) == []
    add(storage, checkpoint_name(1), epochs=1)
    add(storage, checkpoint_name(3), epochs=3, state=False)
    storage.write_bytes(f"{FOLDER}/{checkpoint_name(4)}/history.json", b"{")
    assert len(finished_epochs(storage, FOLDER)) == 3


def test_a_state_is_read_by_key(storage: Storage, tmp_path: Path):
    save(tmp_path / FOLDER / "epoch-0001" / "state.pt", {"epoch": 1})
    assert load_state(storage, f"{FOLDER}/epoch-0001") == {"epoch": 1}


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ('{"checkpoint_results": [{"checkp', False),
        ({"checkpoint_results": [{"checkpoint_dir_name": "epoch-0001"}], "ray_version": ray.__version__}, True),
        ({"checkpoint_results": [{"checkpoint_dir_name": "epoch-0002"}], "ray_version": ray.__version__}, False),
        ({"checkpoint_results": [{"checkpoint_dir_name": "epoch-0001"}], "ray_version": "1.0.0"}, False),
        ({"checkpoint_results": [], "ray_version": ray.__version__}, True),
        ([], False),
    ],
)
def test_a_list_that_ray_could_not_load_is_put_aside(storage: Storage, content: Any, kept: bool):
    add(storage, "epoch-0001")
    text = content if isinstance(content, str) else json.dumps(content)
    storage.write_bytes(f"{FOLDER}/{SNAPSHOT}", text.encode())
    forget_unreadable(storage, FOLDER)
    assert storage.exists(f"{FOLDER}/{SNAPSHOT}") == kept
    assert storage.exists(f"{FOLDER}.unreadable.json") != kept
    assert newest(storage, FOLDER) == "epoch-0001"


def test_no_list_is_no_fault(storage: Storage):
    forget_unreadable(storage, FOLDER)
    assert storage.list() == []
