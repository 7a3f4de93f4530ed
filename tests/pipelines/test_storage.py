import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import files
from pipelines.storage import Storage, open_storage
from weakseg.errors import ResourceError

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "root")


def test_bytes_come_back_and_are_replaced(storage):
    assert not storage.exists("runs/a/run.json")
    storage.write_bytes("runs/a/run.json", b"one")
    storage.write_bytes("runs/a/run.json", b"two")
    assert storage.read_bytes("runs/a/run.json") == b"two"
    assert storage.exists("runs/a/run.json")
    assert storage.local_path("runs/a/run.json").read_bytes() == b"two"
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("runs/b/run.json")


def test_opening_makes_nothing_and_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = open_storage("data")
    assert not (tmp_path / "data").exists()
    monkeypatch.chdir("/")
    storage.write_bytes("x", b"1")
    assert (tmp_path / "data" / "x").read_bytes() == b"1"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_storage("~/w").root == str(tmp_path / "home" / "w")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "a/..", "/etc/passwd", "a\\..\\b", "a\0b"])
def test_no_key_leaves_the_root(storage, key):
    for use in (storage.exists, storage.read_bytes, storage.list, storage.delete_tree, storage.read_table):
        with pytest.raises(ValueError, match="leave the root"):
            use(key)
    for use in (storage.write_bytes, storage.create_once):
        with pytest.raises(ValueError, match="leave the root"):
            use(key, b"")


@given(st.text(alphabet="./a\\~ \n", max_size=12))
def test_a_key_is_refused_or_lies_below_the_root(key):
    storage = Storage("/some/root")
    try:
        path = storage.local_path(key)
    except ValueError:
        return
    assert Path(os.path.normpath(path)).is_relative_to("/some/root")


def test_tables_come_back_whole_or_by_column(storage):
    storage.write_table("t.parquet", TABLE, row_group_size=2)
    assert storage.read_table("t.parquet").equals(TABLE)
    assert storage.read_table("t.parquet", columns=["b"]).column_names == ["b"]
    with storage.open_parquet("t.parquet") as file:
        assert file.num_row_groups == 2
    with pytest.raises(FileNotFoundError):
        storage.read_table("u.parquet")
    assert pq.read_table(f"{storage.path}/t.parquet", filesystem=storage.fs).equals(TABLE)


def test_a_table_appears_when_its_writer_is_done_and_not_at_all_after_an_error(storage):
    with storage.table_writer("t.parquet", TABLE.schema) as writer:
        writer.write(TABLE)
        assert not storage.exists("t.parquet")
        assert storage.list() == []
        writer.write(TABLE)
    assert storage.read_table("t.parquet").num_rows == 6
    with pytest.raises(RuntimeError), storage.table_writer("t.parquet", TABLE.schema) as writer:  # noqa: PT012
        writer.write(TABLE)
        raise RuntimeError
    assert storage.read_table("t.parquet").num_rows == 6
    assert len(list(Path(storage.root).iterdir())) == 1


def test_an_error_of_the_callers_own_is_not_taken_for_one_of_the_storage(storage, tmp_path):
    with pytest.raises(FileNotFoundError), storage.table_writer("t.parquet", TABLE.schema):
        (tmp_path / "missing").read_bytes()


def test_create_once_creates_once(storage):
    assert storage.create_once("k", b"first")
    assert not storage.create_once("k", b"second")
    assert storage.read_bytes("k") == b"first"


def test_of_many_creators_exactly_one_wins(storage):
    with ThreadPoolExecutor(16) as pool:
        for number in range(20):
            won = list(pool.map(lambda i, n=number: storage.create_once(f"k/{n}", str(i).encode()), range(16)))
            assert sum(won) == 1
            assert storage.read_bytes(f"k/{number}") == str(won.index(True)).encode()
    assert len(list(storage.local_path("k").iterdir())) == 20


def test_list_is_recursive_sorted_and_without_unfinished_files(storage):
    for key in ("p/b", "p/a/c", "q/d", "p/a/b"):
        storage.write_bytes(key, b"")
    storage.local_path("p/.z.123.tmp").write_bytes(b"half")
    assert storage.list("p") == ["p/a/b", "p/a/c", "p/b"]
    assert storage.list() == ["p/a/b", "p/a/c", "p/b", "q/d"]
    assert storage.list("nowhere") == []
    assert storage.folders() == ["p", "q"]
    assert storage.folders("nowhere") == []


def test_delete_tree_deletes_below_and_nothing_else(storage):
    for key in ("p/a/b", "p/c", "pq/d"):
        storage.write_bytes(key, b"")
    storage.delete_tree("p/c")
    assert storage.list() == ["p/a/b", "pq/d"]
    storage.delete_tree("p")
    assert storage.list() == ["pq/d"]
    storage.delete_tree("p")
    with pytest.raises(ValueError, match="whole storage"):
        storage.delete_tree("")


def test_a_writer_killed_before_the_rename_leaves_the_old_file_and_a_leftover_that_is_swept(storage):
    storage.write_bytes("a/k", b"old")
    code = (
        "import os, signal, pathlib, sys\n"
        "from pipelines.storage import open_storage\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "open_storage(sys.argv[1]).write_bytes('a/k', b'new')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, storage.root], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert storage.read_bytes("a/k") == b"old"
    assert storage.list() == ["a/k"]
    assert len(list(storage.local_path("a").iterdir())) == 2
    assert storage.sweep("b") == 0
    assert storage.sweep("a") == 1
    assert len(list(storage.local_path("a").iterdir())) == 1


def test_content_is_on_the_disk_before_the_name(storage, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def flushed(descriptor):
        events.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renamed_to(path, target):
        events.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed_to)
    storage.write_bytes("a/k", b"x")
    renamed = events.index("rename")
    assert events[renamed - 1].endswith(".tmp")
    assert events[renamed + 1] == str(storage.local_path("a"))
    assert storage.root in events[:renamed]  # the new folder's own entry


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_storage_that_cannot_be_written_gives_one_line_that_says_what_to_do(storage, monkeypatch, number):
    storage.write_bytes("a/k", b"old")

    def refuse(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "flush", refuse)
    monkeypatch.setattr("pipelines.storage.flush", refuse)
    for write in (
        lambda: storage.write_bytes("a/k", b"new"),
        lambda: storage.create_once("a/l", b"new"),
        lambda: storage.write_table("a/t", TABLE),
        storage.check,
    ):
        with pytest.raises(ResourceError, match=r"cannot write .* storage\.root=") as raised:
            write()
        assert storage.root in str(raised.value)
        assert "\n" not in str(raised.value)
    assert storage.read_bytes("a/k") == b"old"
    assert storage.sweep() == 0


def test_a_root_that_is_or_lies_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="not a folder"):
        open_storage(tmp_path / "file")
    below = open_storage(tmp_path / "file" / "below")
    for write in (below.check, lambda: below.create_once("k", b""), lambda: below.lock("k")):
        with pytest.raises(ResourceError, match="cannot write"):
            write()


@pytest.mark.parametrize(("root", "words"), [("s3://bucket/x", "S3 storage is not available yet"), ("gs://b", "gs://")])
def test_other_kinds_of_storage_are_refused_in_one_line(root, words):
    with pytest.raises(ResourceError, match=words):
        open_storage(root)


def test_a_storage_travels(storage):
    storage.write_bytes("k", b"x")
    assert pickle.loads(pickle.dumps(storage)).read_bytes("k") == b"x"
    assert pickle.loads(pickle.dumps(storage)) == storage


def test_a_lock_is_held_until_released(storage):
    with storage.lock("l") as lock:
        with pytest.raises(BlockingIOError):
            storage.lock("l")
        lock.release()
        storage.lock("l").release()
    storage.lock("l").release()


def test_a_waiting_lock_waits(storage):
    lock = storage.lock("l")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(storage.lock, "l", wait=True)
        time.sleep(0.1)
        assert not waiting.done()
        lock.release()
        waiting.result(timeout=10).release()


def test_a_forked_child_that_outlives_its_parent_holds_no_lock(storage):
    code = (
        "import os, sys, time\n"
        "from pipelines.storage import open_storage\n"
        "lock = open_storage(sys.argv[1]).lock('l')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.close(1); time.sleep(60); os._exit(0)\n"
        "print(child, flush=True); os._exit(0)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code, storage.root], stdout=subprocess.PIPE, text=True, check=True)
    child = int(parent.stdout)
    try:
        os.kill(child, 0)  # it lives
        storage.lock("l").release()
    finally:
        os.kill(child, signal.SIGKILL)
