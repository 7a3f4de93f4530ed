import threading

import pytest

from pipelines.storage import claim, open_storage
from pipelines.storage.bucket import Bucket
from weakseg.errors import ResourceError

pytestmark = pytest.mark.s3


@pytest.fixture
def storage(s3_root) -> Bucket:
    return open_storage(s3_root)


def claimed(storage: Bucket, heartbeat: float = 0.1, **given: str) -> claim.Claim:
    return claim.Claim(storage, "l", heartbeat=heartbeat, **given)


def test_a_file_that_cannot_be_read_belongs_to_nobody(storage):
    storage.write_bytes("l", b'{"token": ')
    held = claimed(storage, heartbeat=60)
    held.acquire()
    assert claim.read(storage.read_bytes("l"))["token"] == held.token
    held.release()
    assert claim.read(storage.read_bytes("l")) is None


def test_no_two_signs_of_life_are_equal(storage):
    with claimed(storage, heartbeat=60) as held:
        held.acquire()
        seen = {held._version}
        for _ in range(3):
            assert held._advance(held._version)
            seen.add(held._version)
        assert len(seen) == 4
        held._ended.set()


def test_a_holder_that_stands_still_is_taken_over_and_does_not_give_free_what_it_lost(storage):
    first, second = claimed(storage), claimed(storage)
    first.acquire()
    first._ended.set()
    first._thread.join()
    second.acquire()
    first.release()
    assert claim.read(storage.read_bytes("l"))["token"] == second.token
    with pytest.raises(BlockingIOError, match="l in s3://.* held by another"):
        claimed(storage).acquire()
    second.release()


def test_a_holder_whose_last_beat_was_done_without_its_knowing_gives_free_all_the_same(storage, monkeypatch):
    held, replace = claimed(storage, heartbeat=60), Bucket.replace
    held.acquire()

    def silent(self, key, data, version):
        replace(self, key, data, version)
        raise ResourceError("no network")

    monkeypatch.setattr(Bucket, "replace", silent)
    with pytest.raises(ResourceError):
        held._advance(held._version)
    monkeypatch.undo()
    held.release()
    assert claim.read(storage.read_bytes("l")) is None


def test_who_waits_takes_over_from_a_holder_that_died(storage):
    storage.write_bytes("l", claim.signature("dead", claim.now(), beat=3))
    held = claimed(storage)
    held.acquire(wait=True)
    held.release()


def test_a_heart_goes_on_beating_after_failures(storage, monkeypatch, caplog):
    advance, failures, again = claim.Claim._advance, [], threading.Event()

    def failing(self, version, **options):
        if self._beats and len(failures) < 2:
            failures.append(version)
            raise ResourceError("no network")
        if len(failures) == 2:
            again.set()
        return advance(self, version, **options)

    monkeypatch.setattr(claim.Claim, "_advance", failing)
    held = claimed(storage, heartbeat=0.02)
    held.acquire()
    assert again.wait(30)
    held.release()
    assert "no network" in caplog.text
    assert claim.read(storage.read_bytes("l")) is None
