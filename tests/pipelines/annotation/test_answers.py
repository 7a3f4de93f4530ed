"""The database of answers: durable, each once, superseded and never changed."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.annotation.answers import Answer, Answers, Conflict, heads
from pipelines.annotation.mirror import Batches
from pipelines.storage import open_storage

FIRST = Answer(0, "pixel", "a", 3, 4, -1, "anna", 2, None, 1.5)


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    opened = Answers(tmp_path / "answers.sqlite")
    yield opened
    opened.close()


def test_the_file_is_safe_against_a_power_cut(answers: Answers):
    assert answers.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert answers.db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_answers_are_there_for_another_connection(answers: Answers, tmp_path: Path):
    stored = answers.add([FIRST, replace(FIRST, x=5)])
    other = Answers(tmp_path / "answers.sqlite")
    assert other.since() == stored
    assert other.since(stored[0].seq) == stored[1:]
    other.close()


def test_how_long_it_took_need_not_be_known(tmp_path: Path):
    """In the same columns as ever: databases and batches of before go on."""
    storage = open_storage(tmp_path / "storage")
    one = Answers(tmp_path / "one.sqlite", Batches(storage, "batches"))
    one.add([replace(FIRST, seconds=None), replace(FIRST, x=5, seconds=0.0)])
    assert one.db.execute("SELECT seconds FROM answers ORDER BY seq").fetchall() == [(-1.0,), (0.0,)]
    two = Answers(tmp_path / "two.sqlite", Batches(storage, "batches"))
    for opened in (one, two):
        assert [row.seconds for row in opened.since()] == [None, 0.0]
        opened.close()


def test_the_same_again_is_stored_once(answers: Answers):
    assert answers.add([FIRST]) == answers.add([FIRST])
    assert len(answers.since()) == 1


def test_a_second_answer_must_name_the_first(answers: Answers):
    first = answers.add([FIRST])[0]
    with pytest.raises(Conflict) as caught:
        answers.add([replace(FIRST, class_id=1)])
    assert caught.value.current == first
    second = answers.add([replace(FIRST, class_id=1, supersedes=first.answer_id)])[0]
    with pytest.raises(Conflict):  # two rows would supersede the first one
        answers.add([replace(FIRST, class_id=0, supersedes=first.answer_id)])
    assert heads(answers.since()) == {FIRST.place: {"anna": second}}


def test_a_retry_of_an_answer_that_was_corrected_since_is_harmless(answers: Answers):
    first = answers.add([FIRST])[0]
    answers.add([replace(FIRST, class_id=1, supersedes=first.answer_id)])
    assert answers.add([FIRST]) == [first]
    assert len(answers.since()) == 2


def test_withdrawn_and_given_again(answers: Answers):
    first = answers.add([FIRST])[0]
    back = answers.add([replace(FIRST, class_id=None, supersedes=first.answer_id)])[0]
    assert back.withdrawn
    again = answers.add([replace(FIRST, supersedes=back.answer_id)])[0]
    assert heads(answers.since())[FIRST.place]["anna"] == again


def test_a_batch_is_stored_whole_or_not_at_all(answers: Answers):
    answers.add([FIRST])
    with pytest.raises(Conflict):
        answers.add([replace(FIRST, x=9), replace(FIRST, class_id=0)])
    assert len(answers.since()) == 1


def test_threads_store_each_answer_once(answers: Answers):
    def work(name: str) -> None:
        for x in range(50):
            answers.add([replace(FIRST, x=x, annotator=name)])
            answers.add([replace(FIRST, x=x, annotator=name)])

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = answers.since()
    assert len(rows) == len({(row.x, row.annotator) for row in rows}) == 200


def test_a_refused_call_leaves_the_others_alone(answers: Answers):
    def refuse(rows: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        answers.add([FIRST], check=refuse)
    assert answers.since() == []
    assert len(answers.add([FIRST])) == 1


def test_batches_reach_the_storage_before_the_answer_counts(tmp_path: Path):
    class Failing(Batches):
        def put(self, rows: list[dict[str, object]]) -> None:
            raise OSError("no bucket")

    storage = open_storage(tmp_path / "storage")
    lost = Answers(tmp_path / "one.sqlite", Failing(storage, "batches"))
    with pytest.raises(OSError, match="no bucket"):
        lost.add([FIRST])
    assert lost.since() == []
    lost.close()
    answers = Answers(tmp_path / "two.sqlite", Batches(storage, "batches"))
    stored = answers.add([FIRST])
    (key,) = storage.list("batches")
    assert [row["answer_id"] for row in json.loads(storage.read_bytes(key))] == [stored[0].answer_id]
    answers.close()


def test_another_machine_finds_the_batches(tmp_path: Path):
    storage = open_storage(tmp_path / "storage")
    one = Answers(tmp_path / "one.sqlite", Batches(storage, "batches"))
    first = one.add([FIRST])[0]
    two = Answers(tmp_path / "two.sqlite", Batches(storage, "batches"))
    assert [row.answer_id for row in two.since()] == [first.answer_id]
    second = one.add([replace(FIRST, class_id=0, supersedes=first.answer_id)])[0]
    two.pull()
    two.pull()
    assert [row.answer_id for row in two.since()] == [first.answer_id, second.answer_id]
    for opened in (one, two):
        opened.close()


class Silent(Batches):
    """A bucket that takes a batch and whose reply is lost, so often as it is told."""

    lost = 0

    def put(self, rows: list[dict[str, Any]]) -> None:
        if self.lost:
            self.lost -= 1
            key = f"{self.folder}/{0:020d}-lost.json"
            self.storage.create_once(key, json.dumps(rows).encode())
            raise OSError("no reply")
        super().put(rows)


def test_a_batch_whose_reply_was_lost_is_not_contradicted_by_a_later_one(tmp_path: Path):
    storage = open_storage(tmp_path / "storage")
    bucket = Silent(storage, "batches")
    answers = Answers(tmp_path / "one.sqlite", bucket)
    bucket.lost = 1
    with pytest.raises(OSError, match="no reply"):
        answers.add([FIRST])
    with pytest.raises(Conflict) as caught:  # nobody said that it was stored, but others may have read it
        answers.add([replace(FIRST, class_id=0)])
    assert caught.value.current is not None
    assert caught.value.current.class_id == FIRST.class_id
    answers.add([replace(FIRST, class_id=0, supersedes=caught.value.current.answer_id)])
    driver = Answers(tmp_path / "two.sqlite", Batches(storage, "batches"))
    assert [row.class_id for row in driver.since()] == [row.class_id for row in answers.since()] == [2, 0]
    for opened in (answers, driver):
        opened.close()


def test_of_two_batches_with_one_answer_the_acknowledged_one_counts(tmp_path: Path):
    storage = open_storage(tmp_path / "storage")
    answers = Answers(tmp_path / "one.sqlite", Batches(storage, "batches"))
    stored = answers.add([FIRST])[0]
    given_up = {name: getattr(replace(stored, class_id=0), name) for name in mirror_columns()}
    given_up["labelled_at"] = "2000-01-01T00:00:00+00:00"
    for name in ("0-before", "9-after"):  # a put that was given up may arrive at any time
        storage.create_once(f"batches/{name}.json", json.dumps([given_up]).encode())
    answers.pull()
    driver = Answers(tmp_path / "two.sqlite", Batches(storage, "batches"))
    assert [row.class_id for row in driver.since()] == [row.class_id for row in answers.since()] == [2]
    for opened in (answers, driver):
        opened.close()


def mirror_columns() -> list[str]:
    return [name for name in Answer.__dataclass_fields__ if name != "seq"]


def test_a_batch_that_could_not_be_taken_in_is_read_again(tmp_path: Path):
    storage = open_storage(tmp_path / "storage")
    one = Answers(tmp_path / "one.sqlite", Batches(storage, "batches"))
    two = Answers(tmp_path / "two.sqlite", Batches(storage, "batches"))
    one.add([FIRST])
    two.db.execute("PRAGMA query_only=ON")  # as on a full disk
    with pytest.raises(sqlite3.OperationalError):
        two.pull()
    two.db.execute("PRAGMA query_only=OFF")
    two.pull()
    assert len(two.since()) == 1
    for opened in (one, two):
        opened.close()
