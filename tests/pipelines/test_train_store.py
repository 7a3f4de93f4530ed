"""What the train stage writes when a training is over, without Ray."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines import train
from pipelines.config import load
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.storage import open_storage

HISTORY = [{"epoch": 1.0, "loss": 0.5, "val_loss": float("nan")}, {"epoch": 2.0, "loss": 0.4, "val_loss": 0.25}]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run whose workers have come to the end: the last checkpoint is there."""
    with Ledger.open(open_storage(tmp_path), "run", {"pool": "p"}, {"labelling": {"rounds": 1}}, {}) as ledger:
        state = {"history": HISTORY, "model": {"weight": torch.ones(2)}, "best": None}
        folder = ledger.key(f"rounds/000/train/fit-{ledger.config_digest}")

        def fit(*arguments: Any) -> None:
            ledger.storage.write_bytes(f"{folder}/epoch-0002/history.json", b'{"spec": {}}')
            ledger.storage.write_bytes(f"{folder}/epoch-0002/state.pt", b"")

        monkeypatch.setattr(train, "_settings", lambda *_: {"epochs": 2})
        monkeypatch.setattr(train, "_watched", lambda *_: nullcontext())
        monkeypatch.setattr(train, "_fit", fit)
        monkeypatch.setattr(train, "load_state", lambda *_: state)
        yield ledger


def run(ledger: Ledger) -> list[dict[str, Any]]:
    return train.run(load("demo"), ledger, 0, console=Console())


def test_a_loss_that_is_no_number_is_written_as_none(ledger):
    first = run(ledger)
    assert [row["val_loss"] for row in first] == [None, 0.25]
    assert run(ledger) == first


def test_checkpoints_that_a_killed_driver_left_behind_a_finished_training_go(ledger, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(type(ledger.storage), "delete_tree", lambda *_: None)
        run(ledger)
    assert len(ledger.storage.folders("runs/run/rounds/000/train")) == 1
    run(ledger)
    assert ledger.storage.list("runs/run/rounds/000/train") == ["runs/run/rounds/000/train/history.json"]
