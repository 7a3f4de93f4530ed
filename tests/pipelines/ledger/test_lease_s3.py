"""The lease where there is nothing but the heartbeat: on S3, also behind a server that fails."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from pipelines.ledger import Ledger, refuse_owned
from pipelines.ledger import lease as lease_module
from pipelines.ledger.lease import Lease, owner_key, read_owner
from pipelines.storage import claim, open_storage
from pipelines.storage.bucket import Bucket
from weakseg.errors import LedgerError

pytestmark = pytest.mark.s3

DRIVER = """
import sys, threading
from pipelines.ledger.lease import Lease
from pipelines.storage import open_storage
from weakseg.errors import LedgerError
lease = Lease(open_storage(sys.argv[1]), "demo", heartbeat=float(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire()
    lease.check()
except LedgerError as error:
    print(error, flush=True)
else:
    print("owns", flush=True)
sys.stdin.readline()  # until it is told, or killed
"""


@pytest.fixture
def storage(s3_root) -> Bucket:
    return open_storage(s3_root)


@pytest.fixture
def drivers(storage):
    """Starts processes that take the lease when they are told to; ends them."""
    started = []

    def start(count: int, heartbeat: float) -> list[subprocess.Popen]:
        command = [sys.executable, "-c", DRIVER, storage.root, str(heartbeat)]
        new = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(count)]
        started.extend(new)
        for process in new:
            assert process.stdout.readline() == "ready\n"
        return new

    yield start
    for process in started:
        process.kill()
        process.communicate()


def tell(processes: list[subprocess.Popen]) -> list[str]:
    """Let processes go at once; what each says."""
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.stdout.readline().strip() for process in processes]


def race_and_take_over(storage, drivers, *, heartbeat: float, count: int = 2) -> None:
    """Of several drivers exactly one goes on; killed, it is taken over, by exactly one again."""
    racing = drivers(count, heartbeat)
    said = tell(racing)
    (winner,) = [process for process, text in zip(racing, said, strict=True) if text == "owns"]
    for text in said:
        assert text == "owns" or text.startswith(f"run demo is owned by process {winner.pid} on host")
    assert read_owner(storage, "demo")["pid"] == winner.pid
    for process in racing:
        os.kill(process.pid, signal.SIGKILL)
    racing = drivers(count, heartbeat)
    assert sorted(text == "owns" for text in tell(racing)) == [False] * (count - 1) + [True]


def test_of_two_drivers_one_goes_on_and_a_dead_one_is_taken_over(storage, drivers):
    race_and_take_over(storage, drivers, heartbeat=0.2)


def test_the_same_behind_a_server_that_fails(storage, drivers, faulty_s3):
    race_and_take_over(storage, drivers, heartbeat=1.0)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_of_many_drivers_one_goes_on_time_after_time(storage, drivers, faulty_s3):
    for turn in range(6):
        race_and_take_over(storage, drivers, heartbeat=1.0, count=3)
        storage.delete_tree(owner_key("demo"))
        assert read_owner(storage, "demo") is None, turn


def test_a_second_driver_learns_who_owns_the_run(storage):
    first = Lease(storage, "demo", heartbeat=0.1)
    first.acquire()
    with pytest.raises(LedgerError) as raised:
        Lease(storage, "demo", heartbeat=0.1).acquire()
    owner = read_owner(storage, "demo")
    for part in ("run demo", f"process {os.getpid()}", socket.gethostname(), owner["started"], "--set run=NAME"):
        assert part in str(raised.value)
    another = Lease(storage, "another")
    another.acquire()
    another.release()
    first.check()
    first.release()
    first.release()
    assert read_owner(storage, "demo") is None
    second = Lease(storage, "demo", heartbeat=0.1)
    second.acquire()
    assert read_owner(storage, "demo")["token"] == second.token
    with pytest.raises(LedgerError, match="not open"):
        first.check()
    second.release()


def test_a_driver_that_hung_too_long_notices_that_it_lost_the_run(storage, monkeypatch):
    asleep = threading.Event()
    first = Lease(storage, "demo", heartbeat=0.1)
    monkeypatch.setattr(claim.Claim, "_keep_beating", lambda held: asleep.wait(60))
    first.acquire()
    monkeypatch.undo()
    second = Lease(storage, "demo", heartbeat=0.1)
    second.acquire()
    with pytest.raises(LedgerError, match=f"lost its lease.*process {os.getpid()}"):
        first.check()
    asleep.set()
    first.release()
    second.check()
    assert read_owner(storage, "demo")["token"] == second.token
    second.release()


def test_a_beat_whose_reply_was_lost_is_our_own(storage, monkeypatch):
    lease = Lease(storage, "demo", heartbeat=60)
    lease.acquire()
    held = lease._lock
    replace, lost = Bucket.replace, []

    def forgetful(self, key, data, version):
        lost.append(replace(self, key, data, version))
        return None if len(lost) == 1 else lost[-1]

    monkeypatch.setattr(Bucket, "replace", forgetful)
    assert held._advance(held._version)
    assert held._version == lost[0]
    assert held._advance(held._version)
    monkeypatch.undo()
    lease.check()
    held._ended.set()
    lease.release()


def test_an_owned_run_is_refused_before_anything_is_spent(storage, monkeypatch):
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.3)
    refuse_owned(storage, "demo")  # nobody has it
    lease = Lease(storage, "demo", heartbeat=0.1)
    lease.acquire()
    with pytest.raises(LedgerError, match="run demo is owned by process"):
        refuse_owned(storage, "demo")
    lease.release()
    refuse_owned(storage, "demo")
    storage.write_bytes(owner_key("demo"), claim.signature("dead", claim.now(), beat=1))
    refuse_owned(storage, "demo")  # fresh by its clock, but still: the lease decides


def test_a_lost_lease_commits_nothing(storage):
    with Ledger.open(storage, "demo", {"pool": "p"}, {"labelling": {"rounds": 1}}, {}, heartbeat=0.1) as ledger:
        ledger.write_json("rounds/000/metrics.json", {"a": 1})
        usurper = claim.signature("other", claim.now(), beat=1)
        storage.write_bytes(owner_key("demo"), usurper)
        with pytest.raises(LedgerError, match="lost its lease"):
            ledger.write_json("rounds/000/metrics.json", {"a": 2})
        assert ledger.read_json("rounds/000/metrics.json") == {"a": 1}
        assert re.fullmatch(r"s3://.*/runs/demo/rounds/000", ledger.address("rounds/000"))
    assert storage.read_bytes(owner_key("demo")) == usurper
