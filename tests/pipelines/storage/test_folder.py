import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import files
from pipelines.storage import Folder, Storage, open_storage
from weakseg.errors import ResourceError

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "root")


def test_a_file_system_without_hard_links_is_told_by_the_check(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ResourceError, match=r"cannot make hard links .*storage\.root=FOLDER"):
        open_storage(tmp_path).check()
    assert list(tmp_path.iterdir()) == []


def test_opening_makes_nothing_and_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = open_storage("data")
    assert not (tmp_path / "data").exists()
    monkeypatch.chdir("/")
    storage.write_bytes("x", b"1")
    assert (tmp_path / "data" / "x").read_bytes() == b"1"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_storage("~/w").root == str(tmp_path / "home" / "w")


@given(st.text(alphabet="./a\\~ \n", max_size=12))
def test_a_key_is_refused_or_lies_below_the_root(key):
    storage = Folder("/some/root")
    try:
        path = storage.local_path(key)
    except ValueError:
        return
    assert Path(os.path.normpath(path)).is_relative_to("/some/root")


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
    monkeypatch.setattr("pipelines.storage.folder.flush", refuse)
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


def test_nothing_unfinished_is_listed_or_left(storage):
    storage.write_bytes("p/a", b"")
    storage.local_path("p/.z.123.tmp").write_bytes(b"half")
    assert storage.list("p") == ["p/a"]
    with pytest.raises(RuntimeError), storage.table_writer("t.parquet", TABLE.schema):
        raise RuntimeError
    assert [path.name for path in Path(storage.root).iterdir()] == ["p"]


def test_a_folder_is_local(storage, tmp_path):
    assert storage.is_local
    assert storage.address("a/b") == str(storage.local_path("a/b")) == str(tmp_path / "root" / "a" / "b")
