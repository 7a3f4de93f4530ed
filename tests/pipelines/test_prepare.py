import dataclasses
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny
from layouts import write_folder
from PIL import Image

from pipelines import prepare
from pipelines.chunks import attempt_chunk
from pipelines.console import Console
from pipelines.pool import Pool
from pipelines.storage import open_storage
from weakseg.errors import DataError, ResourceError, WeaksegError


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data", images=12)


@pytest.fixture
def configured(data, tmp_path):
    """Makes configurations over the folder; changes as section__field."""

    def make(**changes):
        settings = {
            "data__layout": "folder",
            "data__path": str(data),
            "data__images": "null",
            "data__size": "null",
            "superpixels__segments": "8",
            "training__augmentation": "null",
            **changes,
        }
        return tiny.config(tmp_path / "root", **settings)

    return make


@pytest.fixture
def storage(tmp_path):
    return open_storage(tmp_path / "root")


@pytest.fixture
def chunk_by_chunk(monkeypatch):
    """Works on the chunks in this process and counts them: what a task does is the same."""
    worked = []

    def spread(job, chunks, console):
        for chunk in chunks:
            row = attempt_chunk(job, int(chunk))
            worked.append(int(chunk))
            if row["error"]:
                raise prepare.RAISED[row["kind"]](row["error"])

    monkeypatch.setattr(prepare, "_spread", spread)
    return worked


def times(storage, *, within="", without="\0"):
    """When each of the pool's parts was written."""
    return {
        key: storage.local_path(key).stat().st_mtime_ns
        for key in storage.list()
        if "/part-" in key and within in key and without not in key
    }


@pytest.mark.ray
def test_chunks_are_spread_over_ray_and_a_second_run_does_nothing(ray_session, configured, storage, capsys):
    config = configured()
    result = prepare.run(config, storage, console=tiny.console())
    assert "prepare: 3/3" in capsys.readouterr().out
    assert result.chunks == 3
    assert sum(result.images.values()) == 12
    assert sum(result.masks.values()) == 11
    assert result.quarantined == 0
    pool = Pool(storage, result.digest, segments=8)
    assert sum(pool.manifest["rows"]) == 12
    assert len([image for part in pool.index().parts() for image in pool.images(part)]) == 12
    before = times(storage)
    again = prepare.run(config, storage, connect=lambda: pytest.fail("nothing is missing: Ray is not needed"))
    assert again == dataclasses.replace(result, chunks=0)
    assert times(storage) == before


@pytest.mark.ray
def test_a_fault_in_a_task_is_one_line_that_names_the_file(ray_session, configured, storage, data):
    mask = data / "masks" / "shot 7.png"
    good = mask.read_bytes()
    Image.fromarray(np.full((30, 40), 9, np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"shot 7\.png.*class index 9") as raised:
        prepare.run(configured(), storage)
    assert "\n" not in str(raised.value)
    assert not [key for key in storage.list() if key.endswith("manifest.json")]
    mask.write_bytes(good)
    assert sum(prepare.run(configured(), storage).images.values()) == 12


def test_a_killed_run_makes_only_what_is_missing(configured, storage, chunk_by_chunk):
    result = prepare.run(configured(), storage)
    whole = times(storage)
    pool = f"pools/{result.digest}"
    contents = {key: storage.read_table(key) for key in whole}
    for key in ("images/part-000001.parquet", "_SUCCESS", "manifest.json"):
        storage.delete_tree(f"{pool}/{key}")
    storage.local_path(f"{pool}/images/.part-000001.parquet.0123.tmp").write_bytes(b"half")
    chunk_by_chunk.clear()
    assert prepare.run(configured(), storage) == dataclasses.replace(result, chunks=1)
    assert chunk_by_chunk == [1]
    changed = {key for key, time in times(storage).items() if whole[key] != time}
    assert changed and all(key.endswith("part-000001.parquet") for key in changed)  # noqa: PT018
    assert {key: storage.read_table(key) for key in whole} == contents
    assert not list(Path(storage.root).rglob("*.tmp"))


def test_a_file_that_is_corrected_in_place_is_told(configured, storage, data, chunk_by_chunk, capsys, monkeypatch):
    """Uncompressed files keep their size, by which a pool is known."""
    mask = sorted((data / "masks").iterdir())[7]
    written = mask.stat().st_mtime_ns

    def correct(path):
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(written + 10**9, written + 10**9))

    with monkeypatch.context() as killed:
        killed.setattr(prepare, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare.run(configured(), storage)
    correct(mask)
    with pytest.raises(DataError, match=rf"masks/{mask.name} was written anew while .*delete .*/pools/"):
        prepare.run(configured(), storage)
    os.utime(mask, ns=(written, written))
    prepare.run(configured(), storage, console=Console())
    assert "written anew" not in capsys.readouterr().out
    correct(mask)
    made = len(chunk_by_chunk)
    prepare.run(configured(), storage, console=Console())
    assert f"warning: masks/{mask.name} was written anew since" in capsys.readouterr().out
    assert len(chunk_by_chunk) == made


def test_killed_before_the_manifest_nothing_is_made_again(configured, storage, chunk_by_chunk, monkeypatch):
    monkeypatch.setattr(prepare, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare.run(configured(), storage)
    monkeypatch.undo()
    before = times(storage)
    assert prepare.run(configured(), storage, connect=lambda: pytest.fail("nothing is missing")).chunks == 0
    assert times(storage) == before


def test_other_superpixels_leave_the_images_alone(configured, storage, chunk_by_chunk):
    first = prepare.run(configured(), storage)
    before = times(storage)
    other = prepare.run(configured(superpixels__segments="5"), storage)
    assert other.digest == first.digest
    assert other.chunks == 3
    assert {key: time for key, time in times(storage).items() if key in before} == before
    made = set(times(storage)) - set(before)
    assert len(made) == 3 and all("/superpixels/" in key for key in made)  # noqa: PT018
    assert prepare.run(configured(superpixels__segments="0"), storage).chunks == 0
    assert prepare.run(configured(), storage).chunks == 0


def test_superpixels_can_come_later(configured, storage, chunk_by_chunk):
    assert prepare.run(configured(superpixels__segments="0"), storage).segments == 0
    assert not times(storage, within="superpixels")
    assert prepare.run(configured(), storage).chunks == 3
    assert len(times(storage, within="superpixels")) == 3


def test_other_sizes_are_another_pool(configured, storage, chunk_by_chunk):
    digests = {
        prepare.run(configured(**changes), storage).digest
        for changes in ({}, {"data__size": "[20, 24]"}, {"data__tile": "[16, 16]"}, {"seed": "5"})
    }
    assert len(digests) == 4


def test_broken_images_are_counted_and_listed(configured, storage, data, chunk_by_chunk, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.resources.connect", lambda *_, **__: None)
    (data / "images" / "shot 3.jpg").write_bytes(b"")
    (data / "images" / "shot 4.png").write_bytes(b"hello")
    result = prepare.prepare(configured(), tiny.console())
    json.dumps(result)
    assert result["quarantined"] == 2
    assert sum(result["images"].values()) == 10
    listed = Pool(storage, result["digest"]).quarantine()
    assert listed["source"].to_pylist() == ["images/shot 3.jpg", "images/shot 4.png"]
    out = capsys.readouterr().out
    assert "quarantined: 2 files" in out
    assert result["digest"] in out
    prepare.prepare(configured(), tiny.console())
    assert "nothing was missing" in capsys.readouterr().out


def test_all_broken_is_an_error_each_time(configured, storage, data, chunk_by_chunk):
    for path in (data / "images").iterdir():
        path.write_bytes(b"x")
    for _ in range(2):
        with pytest.raises(DataError, match="not one of 12 images"):
            prepare.run(configured(), storage)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda mask: Image.fromarray(np.zeros((8, 9), np.uint8)).save(mask), r"shot 2\.png.*8x9"),
        (lambda mask: Image.fromarray(np.full((30, 40), 3, np.uint8)).save(mask), r"shot 2\.png.*class index 3"),
        (lambda mask: Image.fromarray(np.full((30, 40, 3), 77, np.uint8)).save(mask), r"shot 2\.png.*#4D4D4D"),
    ],
)
def test_faulty_masks_end_it_with_one_line_and_nothing_counts_as_done(
    configured, storage, data, chunk_by_chunk, spoil, words
):
    spoil(data / "masks" / "shot 2.png")
    with pytest.raises(DataError, match=words) as raised:
        prepare.run(configured(), storage)
    assert "\n" not in str(raised.value)
    assert not [key for key in storage.list() if key.endswith("_SUCCESS") and "/sources/" not in key]
    assert chunk_by_chunk == [0, 1]
    assert [key[-11:] for key in times(storage, within="/images/")] == ["000.parquet"]  # the chunk before, and no other


def test_what_could_not_use_the_pool_is_refused_before_it_is_made(configured, storage):
    def refuse(classes):
        raise WeaksegError(f"no model for {classes} classes")

    with pytest.raises(WeaksegError, match="no model for 3 classes"):
        prepare.run(configured(), storage, check=refuse, connect=lambda: pytest.fail("Ray is not needed"))
    assert storage.list() == []


def test_a_missing_folder_is_one_line(configured, storage, tmp_path):
    with pytest.raises(DataError, match="no such data folder"):
        prepare.run(configured(data__path=str(tmp_path / "nowhere")), storage)
    assert storage.list() == []


def test_a_storage_that_cannot_be_written_is_one_line(configured, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="cannot write"):
        prepare.run(configured(), open_storage(tmp_path / "file" / "below"))


def test_a_second_driver_waits_and_then_finds_it_done(configured, storage, chunk_by_chunk, capsys, monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    spread = prepare._spread

    def slow(job, chunks, console):
        started.set()
        assert go_on.wait(30)
        spread(job, chunks, console)

    monkeypatch.setattr(prepare, "_spread", slow)
    results = {}

    def work(name):
        results[name] = prepare.run(configured(), storage, console=tiny.console())

    first, second = (threading.Thread(target=work, args=(name,)) for name in ("first", "second"))
    first.start()
    assert started.wait(30)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go_on.set()
    first.join(30)
    second.join(30)
    assert results["first"].chunks == 3
    assert results["second"] == dataclasses.replace(results["first"], chunks=0)
    assert sorted(chunk_by_chunk) == [0, 1, 2]
    assert "another driver is preparing it" in capsys.readouterr().out
