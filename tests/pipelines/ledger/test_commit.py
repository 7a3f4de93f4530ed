import datetime
import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.ledger import Ledger, runs
from pipelines.ledger.lease import owner_key
from pipelines.storage import Storage, open_storage
from weakseg.errors import LedgerError
from weakseg.schema import LABELS

IDENTITY = {"pool": "0123456789ab", "seed": 0}
CONFIG = {"labelling": {"rounds": 3}, "superpixels": {"segments": 150, "compactness": 5.0}}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def opened(storage, run="demo", *, identity=IDENTITY, config=CONFIG):
    return Ledger.open(storage, run, identity, config, {"torch": "2"})


def labels(round, *rows):
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    fixed = {"kind": "pixel", "annotator": "oracle", "seconds": 1.0, "labelled_at": at, "round": round}
    return pa.Table.from_pylist(
        [{**fixed, "answer_id": f"{round}-{y}", "image_id": "a", "y": y, "x": 0, "class_id": c} for y, c in rows],
        schema=LABELS,
    )


def test_artefacts_come_back_under_the_runs_own_keys(storage):
    with opened(storage) as ledger:
        key = f"{ledger.round(0)}/metrics.json"
        assert key == "rounds/000/metrics.json"
        assert not ledger.exists(key)
        ledger.write_json(key, {"miou": 0.5, "iou": [None, 1]})
        ledger.write_bytes("model", b"\x00")
        ledger.write_table("t.parquet", pa.table({"a": [1], "b": [2]}))
        assert ledger.read_json(key) == {"miou": 0.5, "iou": [None, 1]}
        assert ledger.read_bytes("model") == b"\x00"
        assert ledger.read_table("t.parquet", columns=["b"]).column_names == ["b"]
        assert Path(ledger.address(key)) == storage.local_path(f"runs/demo/{key}")
        with pytest.raises(FileNotFoundError):
            ledger.read_json("nothing")
        with pytest.raises(ValueError, match="JSON"):
            ledger.write_json(key, float("nan"))


def test_run_json_is_made_once_and_found_again(storage):
    with opened(storage) as ledger:
        first = ledger.record
        ledger.write_json("run.json", {**first, "mlflow": {}})  # as older versions have it
    with opened(storage) as ledger:
        assert ledger.record == {**first, "mlflow": {}}
        assert ledger.id == first["id"]
    stored = json.loads(storage.read_bytes("runs/demo/run.json"))
    assert stored == ledger.record
    assert stored["identity"] == IDENTITY
    assert stored["versions"] == {"torch": "2"}


def test_another_identity_is_refused_and_the_lease_given_back(storage):
    with opened(storage) as ledger:
        ledger.write_bytes("rounds/000/queries.parquet", b"")
    with pytest.raises(LedgerError, match="seed: was 0, now 1"):
        opened(storage, identity={**IDENTITY, "seed": 1})
    with opened(storage):  # the refusal has not kept the run
        pass
    with opened(storage, "other", identity={**IDENTITY, "seed": 1}):
        pass
    assert runs(storage) == ["demo", "other"]


def test_a_run_in_which_nothing_was_done_may_become_another(storage):
    """A file of labels with a typing error must not use up the name."""
    with opened(storage) as ledger:
        ledger.write_bytes("supervision/proportions/part-000000.parquet", b"of the first file")
        first = ledger.record
    other = {**IDENTITY, "supervision.proportions": "sha256:1"}
    with opened(storage, identity=other, config={**CONFIG, "labelling": {"rounds": 2}}) as ledger:
        assert not ledger.exists("supervision/proportions/part-000000.parquet")
        assert (ledger.record["identity"], ledger.id) == (other, first["id"])
        assert ledger.record["amendments"] == []
        assert Ledger.read(storage, "demo").record == ledger.record
    with opened(storage, identity=other, config={**CONFIG, "labelling": {"rounds": 1}}) as ledger:
        assert ledger.record["config"]["labelling"] == {"rounds": 1}
        ledger.write_bytes("rounds/000/queries.parquet", b"")
    with pytest.raises(LedgerError, match="supervision.proportions: was"):
        opened(storage)


def test_rounds_without_their_record_are_not_taken_over(storage):
    """Whoever deletes run.json alone, or is interrupted while deleting a run, leaves rounds of unknown settings."""
    with opened(storage) as ledger:
        ledger.write_bytes("rounds/000/_SUCCESS", b"")
    storage.delete_tree("runs/demo/run.json")
    with pytest.raises(LedgerError, match=r"runs/demo holds .* without its run\.json.*delete"):
        opened(storage, identity={**IDENTITY, "seed": 1})
    assert not storage.exists("runs/demo/run.json")
    storage.delete_tree("runs/demo/rounds")
    storage.write_bytes("runs/demo/supervision/proportions/part-000000.parquet", b"of a file that is not known")
    with opened(storage, identity={**IDENTITY, "seed": 1}) as ledger:
        assert not ledger.exists("supervision")


def test_more_rounds_are_written_down_at_once(storage):
    with opened(storage) as ledger:
        ledger.write_bytes("rounds/000/queries.parquet", b"")
    with opened(storage, config={**CONFIG, "labelling": {"rounds": 5}}):
        (amendment,) = Ledger.read(storage, "demo").record["amendments"]
    assert (amendment["field"], amendment["old"], amendment["new"]) == ("labelling.rounds", 3, 5)


@pytest.mark.parametrize("other", [1, 10])
def test_who_adds_no_round_leaves_their_number_alone(storage, other):
    config = {**CONFIG, "labelling": {"rounds": other}}
    with opened(storage) as ledger:
        ledger.write_bytes("rounds/002/queries.parquet", b"")
    with Ledger.open(storage, "demo", IDENTITY, config, {"torch": "2"}, adds_rounds=False) as ledger:
        assert ledger.record["config"] == CONFIG
        assert ledger.record["amendments"] == []
    with opened(storage):
        pass
    with Ledger.open(storage, "once", IDENTITY, config, {"torch": "2"}, adds_rounds=False) as ledger:
        ledger.write_bytes("rounds/000/queries.parquet", b"")
        assert ledger.record["config"]["labelling"] == {"rounds": 1}
    with opened(storage, "once", config={**CONFIG, "labelling": {"rounds": 2}}):
        pass


def test_the_digest_is_of_the_identity_alone(storage):
    with opened(storage) as a, opened(storage, "b", config={**CONFIG, "x": 1}) as b:
        assert a.config_digest == b.config_digest
        assert a.id != b.id
    with opened(storage, "c", identity={**IDENTITY, "seed": 1}) as c:
        assert c.config_digest != a.config_digest


def test_two_drivers_never_share_a_run(storage):
    with opened(storage) as ledger:
        with pytest.raises(LedgerError, match="run demo is owned by process"):
            opened(storage)
        assert ledger.owner()["alive"]
    assert ledger.owner() is None


def test_every_commit_checks_that_the_run_is_still_ours(storage):
    with opened(storage) as ledger:
        ledger.write_json("a", 1)
        storage.write_bytes(owner_key("demo"), json.dumps({"token": "x", "host": "h", "pid": 7}).encode())
        for write in (
            lambda: ledger.write_json("a", 2),
            lambda: ledger.write_bytes("a", b"2"),
            lambda: ledger.write_table("a", pa.table({"a": [2]})),
        ):
            with pytest.raises(LedgerError, match="lost its lease.*process 7 on host h"):
                write()
        assert ledger.read_json("a") == 1


def test_after_closing_nothing_is_written(storage):
    with opened(storage) as ledger:
        pass
    with pytest.raises(LedgerError, match="not open"):
        ledger.write_json("a", 1)


def test_reading_needs_no_lease_and_writes_nothing(storage):
    with opened(storage) as ledger:
        ledger.write_json("a", 1)
        looking = Ledger.read(storage, "demo")
        assert looking.read_json("a") == 1
        assert looking.owner()["alive"]
        with pytest.raises(LedgerError, match="reading only"):
            looking.write_json("a", 2)
    with pytest.raises(LedgerError, match=r"no run nope in storage .*; there are: demo"):
        Ledger.read(storage, "nope")


def test_labels_are_those_of_all_rounds_in_order(storage):
    with opened(storage) as ledger:
        assert ledger.labels().equals(LABELS.empty_table())
        for round in (10, 0, 2):
            ledger.write_table(f"{ledger.round(round)}/labels.parquet", labels(round, (round, 1), (round + 20, 255)))
        ledger.write_json(f"{ledger.round(1)}/metrics.json", {})
        assert ledger.labels()["round"].to_pylist() == [0, 0, 2, 2, 10, 10]
        assert ledger.labels(2)["y"].to_pylist() == [0, 20, 2, 22]
        assert ledger.labels(0).schema == LABELS


def test_the_pool_is_the_identitys_with_the_configured_superpixels(storage):
    with opened(storage) as ledger:
        assert (ledger.pool.digest, ledger.pool.segments, ledger.pool.compactness) == ("0123456789ab", 150, 5.0)
        assert ledger.pool is ledger.pool


def test_a_killed_driver_leaves_whole_artefacts_a_free_run_and_no_leftovers(storage):
    code = (
        "import os, pathlib, signal, sys\n"
        "from pipelines.ledger import Ledger\n"
        "from pipelines.storage import open_storage\n"
        "ledger = Ledger.open(open_storage(sys.argv[1]), 'demo', {'pool': '0123456789ab', 'seed': 0}, {}, {})\n"
        "ledger.write_json('rounds/000/metrics.json', 1)\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ledger.write_json('rounds/000/metrics.json', 2)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, storage.root], check=False)
    assert killed.returncode == -signal.SIGKILL
    leftovers = list(Path(storage.root).rglob("*.tmp"))
    assert len(leftovers) == 1
    with opened(storage) as ledger:
        assert ledger.read_json("rounds/000/metrics.json") == 1
        assert not leftovers[0].exists()


def test_a_run_json_that_was_damaged_is_named(storage):
    with opened(storage):
        pass
    storage.write_bytes("runs/demo/run.json", b"{")
    with pytest.raises(LedgerError, match=r"runs/demo/run\.json"):
        opened(storage)
