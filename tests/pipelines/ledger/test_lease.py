import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.ledger import lease as lease_module
from pipelines.ledger.lease import Lease, alive, describe, heartbeat_age, owner_key, read_owner, refuse_owned
from pipelines.storage import Storage, open_storage
from weakseg.errors import LedgerError

OWNER = """
import sys, time
from pipelines.ledger.lease import Lease
from pipelines.storage import open_storage
Lease(open_storage(sys.argv[1]), "demo", heartbeat=0.1).acquire()
print("owns", flush=True)
time.sleep(60)
"""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


@pytest.fixture
def other(storage):
    """Another process that owns the run."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, storage.root], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "owns\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_driver_learns_who_owns_the_run_and_since_when(storage, other):
    owner = read_owner(storage, "demo")
    with pytest.raises(LedgerError) as raised:
        Lease(storage, "demo").acquire()
    text = str(raised.value)
    assert "\n" not in text
    for part in ("run demo", f"process {other.pid}", socket.gethostname(), owner["started"], "--set run=NAME"):
        assert part in text
    another = Lease(storage, "another")
    another.acquire()
    another.release()


def test_an_owner_killed_without_warning_is_replaced_at_once(storage, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert alive(read_owner(storage, "demo"))  # its last heartbeat is still fresh
    started = time.monotonic()
    lease = Lease(storage, "demo")
    lease.acquire()
    assert time.monotonic() - started < 2
    assert read_owner(storage, "demo")["pid"] == os.getpid()
    lease.check()
    lease.release()


def test_an_owned_run_is_refused_without_becoming_its_owner(storage, other):
    refuse_owned(storage, "another")  # no such run yet
    with pytest.raises(LedgerError, match=f"run demo is owned by process {other.pid} on host"):
        refuse_owned(storage, "demo")
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    refuse_owned(storage, "demo")  # a dead owner's run is free
    assert read_owner(storage, "demo")["pid"] == other.pid


def test_an_owner_that_hangs_is_still_the_owner(storage, other):
    os.kill(other.pid, signal.SIGSTOP)
    with pytest.raises(LedgerError, match=f"process {other.pid}"):
        Lease(storage, "demo").acquire()


def test_released_it_is_free(storage):
    first = Lease(storage, "demo")
    first.acquire()
    first.release()
    first.release()
    assert read_owner(storage, "demo") is None
    second = Lease(storage, "demo")
    second.acquire()
    second.release()


def test_the_heart_beats(storage):
    lease = Lease(storage, "demo", heartbeat=0.02)
    lease.acquire()
    before = storage.local_path(owner_key("demo")).stat().st_mtime_ns
    first = read_owner(storage, "demo")
    deadline = time.monotonic() + 10
    while storage.local_path(owner_key("demo")).stat().st_mtime_ns == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert read_owner(storage, "demo") == {**first, "heartbeat": read_owner(storage, "demo")["heartbeat"]}
    lease.release()
    time.sleep(0.1)
    assert read_owner(storage, "demo") is None  # no beat after the end


def test_a_lost_lease_is_noticed_and_not_taken_back(storage):
    lease = Lease(storage, "demo", heartbeat=0.02)
    lease.acquire()
    usurper = {**read_owner(storage, "demo"), "token": "other", "pid": 4711}
    # A beat under way may still overwrite it once.
    for _ in range(100):
        storage.write_bytes(owner_key("demo"), json.dumps(usurper).encode())
        time.sleep(0.05)
        if read_owner(storage, "demo") == usurper:
            break
    with pytest.raises(LedgerError, match="lost its lease.*4711"):
        lease.check()
    time.sleep(0.1)
    assert read_owner(storage, "demo") == usurper
    lease.release()
    assert read_owner(storage, "demo") == usurper


def test_a_vanished_owner_file_is_a_lost_lease(storage):
    lease = Lease(storage, "demo")
    lease.acquire()
    storage.delete_tree(owner_key("demo"))
    with pytest.raises(LedgerError, match="lost its lease"):
        lease.check()
    lease.release()
    with pytest.raises(LedgerError, match="not open"):
        lease.check()


def test_a_live_owner_on_another_host_is_respected_even_without_its_lock(storage, monkeypatch):
    beats = iter(range(1000))

    def beating(storage, run):
        return {"token": "t", "host": "elsewhere", "pid": 7, "started": "then", "heartbeat": f"{next(beats)}"}

    monkeypatch.setattr(lease_module, "read_owner", beating)
    with pytest.raises(LedgerError, match="host elsewhere"):
        Lease(storage, "demo", heartbeat=0.05).acquire()
    monkeypatch.undo()
    lease = Lease(storage, "demo")
    lease.acquire()  # the refusal let go of the lock
    lease.release()


def test_a_dead_owner_on_another_host_is_replaced(storage):
    record = {"token": "t", "host": "elsewhere", "pid": 7, "started": "then", "heartbeat": "2020-01-01T00:00:00+00:00"}
    storage.write_bytes(owner_key("demo"), json.dumps(record).encode())
    lease = Lease(storage, "demo", heartbeat=0.05)
    lease.acquire()
    assert read_owner(storage, "demo")["token"] == lease.token
    lease.release()


def test_owners_are_described_whatever_their_file_holds(storage):
    assert not alive(None)
    assert heartbeat_age({}) == heartbeat_age({"heartbeat": "?"}) == float("inf")
    assert "no heartbeat" in describe({})
    storage.write_bytes(owner_key("demo"), b'{"token": ')
    assert read_owner(storage, "demo") is None
