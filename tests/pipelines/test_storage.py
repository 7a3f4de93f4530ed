"""What every kind of storage promises: a folder, and a bucket on the session's S3 server."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.storage import Folder, Storage, claim, open_storage
from pipelines.storage.bucket import Bucket
from weakseg.errors import ResourceError

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})


@pytest.fixture(
    params=["folder", pytest.param("s3", marks=pytest.mark.s3), pytest.param("faulty", marks=pytest.mark.s3)]
)
def storage(request, tmp_path, monkeypatch) -> Storage:
    """A folder; a bucket; the bucket behind a proxy that disturbs a tenth of all requests."""
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 1.0 if request.param == "faulty" else 0.2)
    if request.param == "folder":
        return open_storage(tmp_path / "root")
    root = request.getfixturevalue("s3_root")
    if request.param == "faulty":
        request.getfixturevalue("faulty_s3")
    return open_storage(root)


def test_the_root_says_which_kind_it_is(storage):
    assert isinstance(storage, Bucket if storage.root.startswith("s3://") else Folder)


def test_bytes_come_back_and_are_replaced(storage):
    assert not storage.exists("runs/a/run.json")
    storage.write_bytes("runs/a/run.json", b"one")
    storage.write_bytes("runs/a/run.json", b"two")
    assert storage.read_bytes("runs/a/run.json") == b"two"
    assert storage.exists("runs/a/run.json")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("runs/b/run.json")


def test_a_folder_is_there_with_anything_in_it(storage):
    storage.write_bytes("p/a/b", b"")
    assert storage.exists("p")
    assert storage.exists("p/a")
    assert storage.exists("")
    assert not storage.exists("p/a/b/c")
    assert not storage.exists("q")


def test_a_folder_is_gone_with_the_last_file_in_it(storage):
    storage.write_bytes("p/a/b", b"")
    storage.write_bytes("p/c", b"")
    storage.delete_tree("p/a/b")
    assert storage.folders("p") == []
    assert not storage.exists("p/a")
    storage.delete_tree("p/c")
    assert storage.folders() == []
    assert not storage.exists("p")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "a/..", "/etc/passwd", "a\\..\\b", "a\0b"])
def test_no_key_leaves_the_root(storage, key, tmp_path):
    uses = (storage.exists, storage.read_bytes, storage.list, storage.folders, storage.delete_tree, storage.sweep)
    for use in (*uses, storage.read_table, storage.open_parquet, storage.lock, storage.address):
        with pytest.raises(ValueError, match="leave the root"):
            use(key)
    for use in (storage.write_bytes, storage.create_once):
        with pytest.raises(ValueError, match="leave the root"):
            use(key, b"")
    with pytest.raises(ValueError, match="leave the root"):
        storage.write_table(key, TABLE)
    with pytest.raises(ValueError, match="leave the root"):
        storage.download_folder(key, tmp_path)


def test_tables_come_back_whole_or_by_column(storage):
    storage.write_table("t.parquet", TABLE, row_group_size=2)
    assert storage.read_table("t.parquet").equals(TABLE)
    assert storage.read_table("t.parquet", columns=["b"]).column_names == ["b"]
    with storage.open_parquet("t.parquet") as file:
        assert file.num_row_groups == 2
        assert file.read_row_group(1, columns=["a"], use_threads=False)["a"].to_pylist() == [3]
    for read in (storage.read_table, storage.open_parquet):
        with pytest.raises(FileNotFoundError):
            read("u.parquet")
    assert pq.read_table(f"{storage.path}/t.parquet", filesystem=storage.fs).equals(TABLE)


def test_tables_larger_than_one_request_are_read_in_parts(storage):
    values = pa.array([bytes([i]) * 2**18 for i in range(8)], pa.binary())
    table = pa.table({"i": range(8), "v": values})
    storage.write_table("t.parquet", table, row_group_size=2)
    with storage.table_writer("u.parquet", table.schema, compression="none") as writer:
        writer.write(table, row_group_size=2)
    for key in ("t.parquet", "u.parquet"):
        with storage.open_parquet(key) as file:
            assert file.read_row_group(3, columns=["v"], use_threads=False)["v"].to_pylist() == values[6:].to_pylist()
            assert pa.Table.from_batches(list(file.iter_batches(batch_size=3, use_threads=False))).equals(table)
        assert storage.read_table(key).equals(table)


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
    assert storage.list() == ["t.parquet"]


def test_an_error_of_the_callers_own_is_not_taken_for_one_of_the_storage(storage, tmp_path):
    with pytest.raises(FileNotFoundError), storage.table_writer("t.parquet", TABLE.schema):
        (tmp_path / "missing").read_bytes()


def test_create_once_creates_once(storage):
    assert storage.create_once("k", b"first")
    assert not storage.create_once("k", b"second")
    assert not storage.create_once("k", b"first")
    assert storage.read_bytes("k") == b"first"


def test_of_many_creators_exactly_one_wins(storage):
    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            won = list(pool.map(lambda i, n=number: storage.create_once(f"k/{n}", str(i).encode()), range(8)))
            assert sum(won) == 1
            assert storage.read_bytes(f"k/{number}") == str(won.index(True)).encode()
    assert len(storage.list("k")) == 5


def test_list_is_recursive_and_sorted(storage):
    for key in ("p/b", "p/a/c", "q/d", "p/a/b", "p-q/e"):
        storage.write_bytes(key, b"")
    assert storage.list("p") == ["p/a/b", "p/a/c", "p/b"]
    assert storage.list() == ["p-q/e", "p/a/b", "p/a/c", "p/b", "q/d"]
    assert storage.list("nowhere") == []
    assert storage.folders() == ["p", "p-q", "q"]
    assert storage.folders("p") == ["a"]
    assert storage.folders("nowhere") == []


def test_delete_tree_deletes_below_and_nothing_else(storage):
    for key in ("p/a/b", "p/c", "pq/d"):
        storage.write_bytes(key, b"")
    storage.delete_tree("p/c")
    assert storage.list() == ["p/a/b", "pq/d"]
    storage.delete_tree("p")
    assert storage.list() == ["pq/d"]
    storage.delete_tree("p")
    for root in ("", ".", "./"):
        with pytest.raises(ValueError, match="whole storage"):
            storage.delete_tree(root)


def test_nothing_unfinished_is_nothing_to_sweep(storage):
    storage.write_bytes("p/a", b"")
    assert storage.sweep() == storage.sweep("p") == 0
    assert storage.list() == ["p/a"]


def test_folders_go_there_and_come_back(storage, tmp_path):
    source, target = tmp_path / "source", tmp_path / "there" / "target"
    (source / "deep").mkdir(parents=True)
    (source / "a.bin").write_bytes(b"a" * 1000)
    (source / "deep" / "b.txt").write_text("b")
    storage.upload_folder("c/epoch-1", source)
    assert storage.list("c") == ["c/epoch-1/a.bin", "c/epoch-1/deep/b.txt"]
    (source / "a.bin").write_bytes(b"new")
    storage.upload_folder("c/epoch-1", source)
    storage.download_folder("c/epoch-1", target)
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {"a.bin": b"new", "deep/b.txt": b"b"}
    with pytest.raises(FileNotFoundError):
        storage.download_folder("c/epoch-2", target)


def test_an_address_names_a_key(storage):
    assert storage.address("a/b") == f"{storage.root}/a/b"
    assert storage.address() == storage.root
    assert storage.is_local == isinstance(storage, Folder)


def test_a_storage_travels(storage):
    storage.write_bytes("k", b"x")
    assert pickle.loads(pickle.dumps(storage)).read_bytes("k") == b"x"
    assert pickle.loads(pickle.dumps(storage)) == storage
    assert len(pickle.dumps(storage)) < 300


def test_a_usable_storage_passes_its_check_and_is_left_as_it_was(storage):
    storage.check()
    assert storage.list() == []


def test_a_lock_is_held_until_released(storage):
    with storage.lock("l") as lock:
        with pytest.raises(BlockingIOError):
            storage.lock("l")
        lock.release()
        storage.lock("l").release()
    storage.lock("l").release()


def test_a_waiting_lock_waits(storage):
    lock = storage.lock("l")
    held, released = threading.Event(), threading.Event()

    def wait() -> bool:
        held.set()
        with storage.lock("l", wait=True):
            return released.is_set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        held.wait()
        with pytest.raises(BlockingIOError):
            storage.lock("l")
        assert not waiting.done()
        released.set()
        lock.release()
        assert waiting.result(timeout=30)


@pytest.mark.parametrize(("root", "words"), [("s3a://bucket/x", "s3a://"), ("gs://b", "gs://"), ("s3://b!/x", "b!")])
def test_other_kinds_of_storage_are_refused_in_one_line(root, words):
    with pytest.raises(ResourceError, match=words):
        open_storage(root)
