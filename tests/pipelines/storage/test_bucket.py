import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from boto3.exceptions import RetriesExceededError
from servers.faulty_s3 import FAULTS, faulty
from servers.s3 import environment

from pipelines import s3
from pipelines.s3 import Address
from pipelines.storage import Storage, objects, open_storage
from pipelines.storage import bucket as bucket_module
from pipelines.storage.bucket import Bucket
from weakseg.errors import ResourceError

pytestmark = pytest.mark.s3

TABLE = pa.table({"a": range(1000), "b": [str(i) for i in range(1000)]})


@pytest.fixture
def storage(s3_root) -> Bucket:
    return open_storage(s3_root)


def drop_reply(monkeypatch, *names: str) -> list[str]:
    """Let the next call of each of the client's methods be done, and then be done again as if its reply were lost."""
    client, made = s3.client(), []

    def twice(name):
        call = getattr(client, name)

        def again(**arguments):
            made.append(name)
            if made.count(name) == 1:
                call(**arguments)
            return call(**arguments)

        return again

    for name in names:
        monkeypatch.setattr(client, name, twice(name))
    return made


def test_a_file_made_by_a_write_whose_reply_was_lost_is_our_own(storage, monkeypatch):
    made = drop_reply(monkeypatch, "put_object")
    assert storage.create_once("k", b"x")
    assert not storage.create_once("k", b"x")  # though it is the same content
    assert len(made) == 2


def test_a_file_advances_from_the_version_last_seen_only(storage, monkeypatch):
    first = storage.replace("k", b"1", None)
    second = storage.replace("k", b"2", first)
    assert storage.read_versioned("k") == (b"2", second)
    assert storage.replace("k", b"3", first) is None
    assert storage.replace("k", b"3", None) is None
    assert storage.replace("none", b"3", first) is None
    drop_reply(monkeypatch, "put_object")
    third = storage.replace("k", b"3", second)
    assert storage.read_versioned("k") == (b"3", third)


def test_of_many_writers_of_the_next_version_exactly_one_wins(storage):
    version = storage.replace("k", b"", None)
    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            bodies = [f"{turn}/{writer}".encode() for writer in range(8)]
            made = list(pool.map(lambda body, v=version: storage.replace("k", body, v), bodies))
            (version,) = [found for found in made if found]
            assert storage.read_versioned("k") == (bodies[made.index(version)], version)


def test_listing_and_deleting_go_on_past_a_thousand_keys(storage, monkeypatch):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: storage.write_bytes(f"p/{i:04d}", b""), range(25)))
    pages = s3.pages
    monkeypatch.setattr(bucket_module, "PAGE", 10)
    monkeypatch.setattr(s3, "pages", lambda *given, **options: pages(*given, **{"MaxKeys": 10, **options}))
    assert storage.list("p") == [f"p/{i:04d}" for i in range(25)]
    storage.delete_tree("p")
    monkeypatch.undo()
    assert storage.list() == []


def test_large_files_go_in_parts_and_appear_whole(storage, monkeypatch, tmp_path):
    part = 5 * 2**20
    monkeypatch.setattr(objects, "SINGLE_PUT", part)
    monkeypatch.setattr(
        objects, "_PARTS", objects.TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=2)
    )
    (tmp_path / "up").mkdir()
    content = random.Random(0).randbytes(part + 1000)
    (tmp_path / "up" / "state.pt").write_bytes(content)
    lost = drop_reply(monkeypatch, "complete_multipart_upload")
    storage.upload_folder("c", tmp_path / "up")
    assert lost == ["complete_multipart_upload"]
    storage.download_folder("c", tmp_path / "down")
    assert (tmp_path / "down" / "state.pt").read_bytes() == content
    assert storage.sweep() == 0


def test_uploads_that_a_dead_writer_left_are_swept_below_the_folder_only(storage):
    at = storage.at
    for key in ("a/x", "a/y", "ab/z"):
        s3.client().create_multipart_upload(Bucket=at.bucket, Key=at.key(key))
    assert storage.sweep("a") == 2
    assert storage.sweep("a") == 0
    assert storage.sweep() == 1


def test_a_file_that_breaks_off_time_after_time_is_one_line(storage, monkeypatch, tmp_path):
    def broken(*given, **options):
        raise RetriesExceededError(ConnectionResetError("reset"))

    storage.write_bytes("c/state.pt", b"x")
    monkeypatch.setattr(s3.client(), "download_file", broken)
    with pytest.raises(ResourceError, match=r"^storage\.root s3://.*cannot be used \(Max Retries Exceeded"):
        storage.download_folder("c", tmp_path / "down")


def test_a_table_is_read_by_its_end_and_the_columns_asked_for(storage, monkeypatch):
    wide = pa.table({"a": pa.array(range(100_000), pa.int64()), "b": pa.array(range(100_000), pa.int64())})
    with storage.table_writer("t", wide.schema, compression="none", use_dictionary=False) as writer:
        writer.write(wide, row_group_size=50_000)
    asked = []
    fetch = s3.fetch
    monkeypatch.setattr(s3, "fetch", lambda *given, **options: asked.append(options) or fetch(*given, **options))
    with storage.open_parquet("t") as file:
        assert asked == [{"Range": f"bytes=-{objects.TAIL}"}]
        file.read_row_group(0, columns=["a"], use_threads=False)
    assert len(asked) == 2
    first, last = map(int, asked[1]["Range"].removeprefix("bytes=").split("-"))
    assert 400_000 <= last - first <= 401_000  # one column of one row group
    assert "IfMatch" in asked[1]


def test_a_table_replaced_while_it_is_read_is_an_error_and_no_mixture(storage):
    big = pa.table({"a": pa.array(range(100_000), pa.int64())})
    with storage.table_writer("t", big.schema, compression="none", use_dictionary=False) as writer:
        writer.write(big, row_group_size=50_000)
    with storage.open_parquet("t") as file:
        storage.write_table("t", TABLE)
        with pytest.raises(ResourceError, match="PreconditionFailed"):
            file.read_row_group(0, use_threads=False)


def test_what_consoles_make_to_show_a_folder_is_no_file(storage):
    s3.client().put_object(Bucket=storage.at.bucket, Key=storage.at.key("p") + "/", Body=b"")
    storage.write_bytes("p/a", b"")
    assert storage.list() == ["p/a"]


def test_prefixes_that_begin_alike_are_apart(s3_root):
    one, other = open_storage(f"{s3_root}/a"), open_storage(f"{s3_root}/ab")
    other.write_bytes("k", b"")
    assert one.list() == []
    assert one.folders() == []
    assert not one.exists("")


def test_a_bucket_that_is_not_there_is_one_line(s3_server):
    storage = open_storage("s3://weakseg-test-none/p")
    with pytest.raises(
        ResourceError, match=r"^storage\.root s3://weakseg-test-none/p: there is no such bucket; create"
    ):
        storage.check()
    for use in (storage.list, lambda: storage.read_bytes("k"), lambda: storage.lock("k")):
        with pytest.raises(ResourceError, match="no such bucket"):
            use()


def operate(storage: Storage, folder: Path, seed: int, steps: int) -> list[object]:
    """Do things drawn by a seed and note what came of each."""
    rng, seen = random.Random(seed), []
    for _ in range(steps):
        key = f"{rng.choice('abc')}/{rng.choice('de')}/{rng.randrange(4)}"
        data = rng.randbytes(rng.choice([0, 10, 100_000]))
        match rng.choice(["write", "create", "read", "exists", "list", "folders", "delete", "table", "folder"]):
            case "write":
                seen.append(storage.write_bytes(key, data))
            case "create":
                seen.append(storage.create_once(key, data))
            case "read":
                try:
                    seen.append(storage.read_bytes(key))
                except FileNotFoundError:
                    seen.append(None)
            case "exists":
                seen.append([storage.exists(key), storage.exists(key[:3]), storage.exists(key[:1])])
            case "list":
                seen.append(storage.list(key[:1]))
            case "folders":
                seen.append(storage.folders(key[:1]))
            case "delete":
                seen.append(storage.delete_tree(rng.choice([key, key[:3]])))
            case "table":
                storage.write_table(f"t/{key}", TABLE.slice(0, rng.randrange(1000)), row_group_size=100)
                with storage.open_parquet(f"t/{key}") as file:
                    seen.append(file.read(columns=["b"], use_threads=False))
            case "folder":
                (folder / "x").mkdir(parents=True, exist_ok=True)
                (folder / "x" / "y").write_bytes(data)
                storage.upload_folder(f"f/{key}", folder)
                storage.download_folder(f"f/{key}", folder / "x")
                seen.append((folder / "x" / "x" / "y").read_bytes())
                (folder / "x" / "x" / "y").unlink()
    return [*seen, *((key, storage.read_bytes(key)) for key in storage.list() if not key.startswith("t/"))]


def compare_with_a_folder(s3_server, s3_root, tmp_path, *, steps: int, rate: float, stall_seconds: float, threads: int):
    """Several threads on storages of their own behind a proxy, and the same in folders without any faults."""

    def both(seed: int) -> tuple[list[object], list[object]]:
        found = operate(open_storage(f"{s3_root}/{seed}"), tmp_path / f"s3-{seed}", seed, steps)
        expected = operate(open_storage(tmp_path / f"{seed}"), tmp_path / f"folder-{seed}", seed, steps)
        return found, expected

    with (
        faulty(s3_server, rate=rate, seed=1, stall_seconds=stall_seconds) as proxy,
        environment(AWS_ENDPOINT_URL_S3=proxy.url),
        ThreadPoolExecutor(threads) as pool,
    ):
        for found, expected in pool.map(both, range(threads)):
            assert found == expected
        assert set(proxy.counts) == {"requests", *FAULTS}, proxy.counts


def test_faults_change_no_result(s3_server, s3_root, tmp_path):
    compare_with_a_folder(s3_server, s3_root, tmp_path, steps=40, rate=0.15, stall_seconds=0.2, threads=4)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_faults_change_no_result_in_thousands_of_requests(s3_server, s3_root, tmp_path):
    compare_with_a_folder(s3_server, s3_root, tmp_path, steps=500, rate=0.05, stall_seconds=2.0, threads=8)


def test_no_message_repeats_what_is_secret(storage, monkeypatch):
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:{secret}@127.0.0.1:9")
    with pytest.raises(ResourceError) as raised:
        storage.check()
    assert secret not in str(raised.value)
    assert secret not in repr(storage)
    assert Address.parse(storage.root) == storage.at


def test_a_full_local_disk_is_told_as_such(monkeypatch):
    """A Parquet file is made there first; another storage.root would not help."""
    storage = open_storage("s3://bucket/prefix")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.storage.tables.pq.ParquetWriter.write_table", full)
        with pytest.raises(ResourceError, match=r"^/.*: part-0\.parquet .* cannot be written .*No space.*set TMPDIR$"):
            storage.write_table("images/part-0.parquet", pa.table({"a": [1]}))
    monkeypatch.setattr("tempfile.TemporaryDirectory.__init__", full)
    with pytest.raises(ResourceError, match=r"^/.*: part-0\.parquet .* cannot be written .*No space.*set TMPDIR$"):
        storage.write_table("images/part-0.parquet", pa.table({"a": [1]}))
