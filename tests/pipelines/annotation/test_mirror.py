"""Batches of answers as objects of a storage."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.annotation import mirror
from pipelines.annotation.mirror import Batches, InPlace
from pipelines.storage import Folder, Storage, open_storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def row(name: str) -> dict[str, Any]:
    return {"answer_id": name}


def test_a_database_in_its_own_folder_needs_no_mirror():
    place = InPlace()
    place.put([row("a")])
    assert list(place.new()) == []


def test_a_batch_is_one_object(storage: Storage):
    Batches(storage, "run/answers").put([row("ä"), row("b")])
    (key,) = storage.list()
    assert re.fullmatch(r"run/answers/[0-9]{20}-[0-9a-f]{16}\.json", key)
    assert json.loads(storage.read_bytes(key)) == [row("ä"), row("b")]


def test_others_batches_are_given_once_and_ones_own_never(storage: Storage):
    one, two = Batches(storage, "answers"), Batches(storage, "answers")
    one.put([row("a")])
    assert list(one.new()) == []
    assert list(two.new()) == [[row("a")]]
    two.put([row("b")])
    one.put([row("c")])
    assert list(two.new()) == [[row("c")]]
    assert list(one.new()) == [[row("b")]]
    assert list(one.new()) == list(two.new()) == []


def test_after_a_restart_all_are_given_in_order(storage: Storage):
    before = Batches(storage, "answers")
    for name in "bac":
        before.put([row(name)])
    assert list(Batches(storage, "answers").new()) == [[row("b")], [row("a")], [row("c")]]


def test_batches_of_another_folder_are_no_batches(storage: Storage):
    Batches(storage, "one/answers").put([row("a")])
    assert list(Batches(storage, "two/answers").new()) == []


@pytest.mark.parametrize("same", [True, False])
def test_batches_stay_in_order_where_the_clock_goes_back(storage: Storage, monkeypatch: pytest.MonkeyPatch, same: bool):
    now = iter([2_000, 1_000, 2_000])
    monkeypatch.setattr(mirror.time, "time_ns", lambda: next(now))
    one = Batches(storage, "answers")
    one.put([row("first")])
    two = one if same else Batches(storage, "answers")  # the server on another machine
    assert len(list(two.new())) == (0 if same else 1)
    two.put([row("second")])
    two.put([row("third")])
    assert list(Batches(storage, "answers").new()) == [[row("first")], [row("second")], [row("third")]]


def test_a_batch_that_could_not_be_taken_in_is_given_again(storage: Storage):
    one, two = Batches(storage, "answers"), Batches(storage, "answers")
    one.put([row("a")])
    one.put([row("b")])
    new = two.new()
    next(new), next(new)
    new.close()  # as where taking the second one in raises
    assert list(two.new()) == [[row("b")]]


def test_a_batch_whose_reply_was_lost_is_found(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    create_once = Folder.create_once

    def lost(storage: Folder, key: str, data: bytes) -> bool:
        create_once(storage, key, data)
        raise OSError("no reply")

    batches = Batches(storage, "answers")
    monkeypatch.setattr(Folder, "create_once", lost)
    with pytest.raises(OSError, match="no reply"):
        batches.put([row("a")])
    assert list(batches.new()) == [[row("a")]]


def test_a_name_of_somebody_elses_making_does_no_harm(storage: Storage):
    storage.create_once("answers/by hand.json", json.dumps([row("a")]).encode())
    batches = Batches(storage, "answers")
    assert list(batches.new()) == [[row("a")]]
    batches.put([row("b")])
    assert list(Batches(storage, "answers").new()) == [[row("b")], [row("a")]]


def test_the_leases_are_one_object_that_the_last_one_is_in(storage: Storage):
    assert Batches(storage, "answers").leases() is None
    for moment in (1.0, 2.0):
        Batches(storage, "answers").put_leases({"at": moment})
    assert Batches(storage, "answers").leases() == {"at": 2.0}
    assert list(Batches(storage, "answers").new()) == []
    InPlace().put_leases({"at": 1.0})
    assert InPlace().leases() is None
