import pickle
from pathlib import Path

import numpy as np
import pytest
from layouts import write_folder
from PIL import Image

from pipelines import chunks
from pipelines.chunks import Job, attempt_chunk, process_chunk
from pipelines.ledger.layout import superpixels_table
from pipelines.sources import census, read_chunk, write_listing
from pipelines.storage import open_storage
from weakseg import codec
from weakseg.datasets import open_layout, records
from weakseg.errors import DataError, ResourceError
from weakseg.schema import IMAGES, MASKS, QUARANTINE, SUPERPIXELS
from weakseg.superpixels import slic


def make_job(data: Path, root: Path, *, size=None, tile=None, segments=10) -> Job:
    layout = open_layout("folder", str(data))
    storage = open_storage(root)
    found = census(layout, size=size, tile=tile)
    write_listing(storage, found)
    return Job(storage, found.digest, layout, size=size, tile=tile, segments=segments)


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data")


@pytest.fixture
def job(data, tmp_path):
    return make_job(data, tmp_path / "root")


def read(job, table, chunk=0):
    return job.storage.read_table(job.key(table, chunk))


def test_a_chunk_becomes_one_part_of_every_table(job):
    expected = [r for s in read_chunk(job.storage, job.digest, 0) for r in records(job.layout, s)]
    counts = process_chunk(job, 0)
    assert counts == {"images": len(expected), "superpixels": len(expected), "quarantined": 0}
    images, masks, segments = (read(job, table) for table in ("images", "masks", job.tables[1]))
    assert images.schema == IMAGES
    assert masks.schema == MASKS
    assert segments.schema == SUPERPIXELS
    for row, record in zip(images.to_pylist(), expected, strict=True):
        assert row == {name: getattr(record, name) for name in IMAGES.names}
    masked = [record for record in expected if record.mask is not None]
    for row, record in zip(masks.to_pylist(), masked, strict=True):
        assert row["image_id"] == record.image_id
        np.testing.assert_array_equal(codec.read_mask(row["mask"]), record.mask)
    for row, record in zip(segments.to_pylist(), expected, strict=True):
        assert row["image_id"] == record.image_id
        segments_HW = codec.decode_segments(row["segments"])
        np.testing.assert_array_equal(segments_HW, slic(codec.decode_image(record.image), segments=10))
        assert row["count"] == segments_HW.max() + 1


def test_many_windows_are_written_in_row_groups_that_all_tables_share(data, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "ROW_GROUP", 5)
    job = make_job(data, tmp_path / "tiles", tile=(8, 8))
    made = process_chunk(job, 0)["images"]
    assert made > 20
    for table in job.tables:
        with job.storage.open_parquet(job.key(table, 0)) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            assert sizes == [5] * (made // 5) + [made % 5] * (made % 5 > 0)
    assert read(job, "images")["image_id"].equals(read(job, job.tables[1])["image_id"])


def test_what_is_done_is_left_alone(job):
    process_chunk(job, 0)
    before = {key: job.storage.local_path(key).stat().st_mtime_ns for key in job.storage.list()}
    assert process_chunk(job, 0) == {"images": 0, "superpixels": 0, "quarantined": 0}
    assert before == {key: job.storage.local_path(key).stat().st_mtime_ns for key in job.storage.list()}


def test_other_superpixels_are_made_from_the_pool_without_the_data(job, data):
    process_chunk(job, 0)
    other = Job(job.storage, job.digest, job.layout, segments=5, compactness=1.0)
    images = job.storage.local_path(job.key("images", 0)).stat().st_mtime_ns
    for path in sorted(data.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    counts = process_chunk(other, 0)
    assert counts["images"] == 0
    assert counts["superpixels"] > 0
    assert job.storage.local_path(job.key("images", 0)).stat().st_mtime_ns == images
    image = codec.decode_image(read(job, "images")["image"][0].as_py())
    made = read(other, superpixels_table(5, 1.0))
    np.testing.assert_array_equal(
        codec.decode_segments(made["segments"][0].as_py()), slic(image, segments=5, compactness=1.0)
    )
    assert read(job, job.tables[1])["count"].to_pylist() != made["count"].to_pylist()


def test_without_superpixels_none_are_made(data, tmp_path):
    job = make_job(data, tmp_path / "none", segments=0)
    assert process_chunk(job, 0)["superpixels"] == 0
    assert not [key for key in job.storage.list() if "superpixels" in key]


def test_broken_images_are_set_aside_with_a_reason_and_the_others_kept(job, data, tmp_path):
    files = sorted(path for path in (data / "images").rglob("*") if path.is_file())[:4]
    whole = files[3].read_bytes()
    for path, content in zip(files[:3], (b"", b"hello", whole[: len(whole) // 2]), strict=True):
        path.write_bytes(content)
    job = make_job(data, tmp_path / "broken")
    counts = process_chunk(job, 0)
    quarantine = read(job, "quarantine")
    assert quarantine.schema == QUARANTINE
    assert counts["quarantined"] == quarantine.num_rows == 3
    names = {path.relative_to(data).as_posix() for path in files[:3]}
    assert set(quarantine["source"].to_pylist()) == names
    assert all(row["source"] in row["error"] for row in quarantine.to_pylist())
    assert not names & set(read(job, "images")["source"].to_pylist())
    assert read(job, "images").num_rows == counts["images"] > 0


def test_a_chunk_without_one_good_image_is_done_too(data, tmp_path):
    for path in (data / "images").rglob("*.*"):
        path.write_bytes(b"")
    job = make_job(data, tmp_path / "broken")
    assert process_chunk(job, 0)["images"] == 0
    assert read(job, "images").schema == IMAGES
    assert read(job, "images").num_rows == 0
    assert process_chunk(job, 0)["quarantined"] == 0


def test_a_mask_that_must_be_put_right_ends_the_chunk_and_leaves_nothing(data, tmp_path):
    mask = next(path for path in sorted((data / "masks").rglob("*")) if path.is_file())
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(mask)
    job = make_job(data, tmp_path / "faulty")
    chunk = next(
        number
        for number in range(100)
        if mask.relative_to(data).as_posix() in {s.mask for s in read_chunk(job.storage, job.digest, number)}
    )
    with pytest.raises(DataError, match="7x9") as raised:
        process_chunk(job, chunk)
    assert mask.name in str(raised.value)
    counts = {"images": 0, "superpixels": 0, "quarantined": 0}
    assert attempt_chunk(job, chunk) == {"chunk": chunk, **counts, "error": str(raised.value), "kind": "data"}
    assert not [key for key in job.storage.list() if "/part-" in key and "sources" not in key]
    assert not list(Path(job.storage.root).rglob("*.tmp"))


def test_a_storage_that_refuses_is_told_apart(job, monkeypatch):
    def refuse(*args, **kwargs):
        raise ResourceError("no space")

    monkeypatch.setattr(chunks, "_from_sources", refuse)
    assert attempt_chunk(job, 0)["kind"] == "resource"
    monkeypatch.setattr(chunks, "_from_sources", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a fault of ours is not the user's
        attempt_chunk(job, 0)


def test_images_appear_last(job, monkeypatch):
    order = []
    replace = Path.replace

    def renamed(path, target):
        order.append(Path(target).relative_to(job.storage.root).parts[2])
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", renamed)
    process_chunk(job, 0)
    assert order[-1] == "images"
    assert set(order) == {"images", "masks", "superpixels", "supervision"}


def test_too_many_segments_for_16_bits_are_the_users_to_mend(job, monkeypatch):
    monkeypatch.setattr(chunks, "slic", lambda image, **_: np.full(image.shape[:2], 70_000, np.int32))
    with pytest.raises(DataError, match=r"superpixels\.segments"):
        process_chunk(job, 0)


def test_a_job_travels(job):
    assert pickle.loads(pickle.dumps(job)) == job
