import dataclasses
import shutil
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from layouts import write_epfl_em, write_folder

from pipelines import sources
from pipelines.sources import Census, census, read_chunk, write_listing
from pipelines.storage import open_storage
from weakseg.datasets import Classes, Source, open_layout
from weakseg.errors import DataError, ResourceError

CLASSES = Classes(("a", "b"), ((0, 0, 0), (1, 1, 1)))


@dataclasses.dataclass(frozen=True)
class Many:
    """A generated data set that is only listed."""

    count: int
    seed: int = 0
    name: str = "many"
    classes: Classes = CLASSES

    def sources(self):
        for number in range(self.count):
            yield Source(f"image-{number:07d}", "train", f"image-{number:07d}", f"image-{number:07d}.png", None)


def named(layout, *, size=None, tile=None):
    return census(layout, size=size, tile=tile).digest


def folder(path, **kwargs):
    return open_layout("folder", str(path), **kwargs)


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data")


def test_the_digest_is_of_names_and_sizes_wherever_and_whenever(data, tmp_path):
    before = named(folder(data))
    moved = tmp_path / "elsewhere"
    shutil.copytree(data, moved)
    for path in moved.rglob("*"):
        path.touch()
    assert named(folder(moved)) == before


def test_whatever_decides_the_pool_changes_the_digest(data):
    image, mask = (sorted((data / kind).iterdir())[0] for kind in ("images", "masks"))
    seen = {named(folder(data)), named(folder(data), size=(8, 8)), named(folder(data), tile=(8, 8))}
    seen.add(named(folder(data), size=(8, 8), tile=(8, 8)))
    image.write_bytes(image.read_bytes() + b"\0")
    seen.add(named(folder(data)))
    mask.write_bytes(mask.read_bytes() + b"\0")
    seen.add(named(folder(data)))
    mask.unlink()
    seen.add(named(folder(data)))
    (data / "classes.yaml").write_text((data / "classes.yaml").read_text().replace("name: ", "name: x"))
    seen.add(named(folder(data)))
    assert len(seen) == 8


def test_images_within_one_file_are_named_by_it_and_counted_one_by_one(tmp_path):
    layout = open_layout("epfl_em", str(write_epfl_em(tmp_path / "em")))
    found = census(layout, size=None, tile=(16, 16))
    assert found.sources == 14
    storage = open_storage(str(tmp_path / "store"))
    write_listing(storage, found)
    assert read_chunk(storage, found.digest, 0) == list(layout.sources())[: found.chunk]
    with (tmp_path / "em/testing_groundtruth.tif").open("ab") as file:
        file.write(b"\0")
    assert named(layout, tile=(16, 16)) != found.digest


def test_the_seed_counts_only_where_it_changes_the_split(tmp_path):
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "classes.yaml").write_text('classes: [{name: a, color: "#000000"}, {name: b, color: "#010101"}]')
    for number in range(40):
        (data / "images" / f"{number}.png").write_bytes(b"x")
    assert len({named(folder(data, seed=seed)) for seed in range(3)}) == 3
    for number in range(40):
        split = "val" if number < 5 else "train"
        (data / "images" / split).mkdir(exist_ok=True)
        (data / "images" / f"{number}.png").rename(data / "images" / split / f"{number}.png")
    assert len({named(folder(data, seed=seed)) for seed in range(3)}) == 1


def test_a_generated_set_is_named_by_its_settings():
    def scenes(**kwargs):
        return named(open_layout("scenes", None, **{"seed": 0, "images": 10, "size": (32, 32), **kwargs}))

    assert scenes() == scenes()
    assert len({scenes(), scenes(seed=1), scenes(images=11), scenes(size=(32, 48))}) == 4


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="no images"):
        census(Many(0), size=None, tile=None)


@pytest.mark.parametrize("count", [1, 31, 128, 129, 1024, 1025, 100_000])
def test_chunks_cover_the_sources_and_small_sets_are_shared_finely(count):
    found = Census("x", count, tempfile.TemporaryDirectory())
    assert (found.chunks - 1) * found.chunk < count <= found.chunks * found.chunk
    assert 4 <= found.chunk <= 32
    assert found.chunks >= min(8, count // 4)


def test_the_chunks_of_the_listing_are_the_sources_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNKS_PER_FILE", 3)
    storage, layout = open_storage(tmp_path), Many(41)
    found = census(layout, size=None, tile=None)
    write_listing(storage, found)
    chunks = [read_chunk(storage, found.digest, chunk) for chunk in range(found.chunks)]
    assert [source for chunk in chunks for source in chunk] == list(layout.sources())
    assert {len(chunk) for chunk in chunks[:-1]} == {found.chunk}
    assert found.chunks == 7
    assert len([key for key in storage.list() if key.endswith(".parquet")]) == 3


def test_the_listing_is_what_was_counted_whatever_happens_meanwhile(data, tmp_path):
    storage, layout = open_storage(tmp_path / "store"), folder(data)
    counted, found = list(layout.sources()), census(layout, size=None, tile=None)
    (data / counted[0].image).unlink()
    write_listing(storage, found)
    assert read_chunk(storage, found.digest, 0) == counted[: found.chunk]


def test_a_finished_listing_is_not_written_again(tmp_path, monkeypatch):
    storage = open_storage(tmp_path)
    write_listing(storage, census(Many(41), size=None, tile=None))
    monkeypatch.setattr(type(storage), "table_writer", lambda *given, **options: pytest.fail("it is written again"))
    write_listing(storage, census(Many(41), size=None, tile=None))


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sources.pq.ParquetWriter, "write_table", full)
    with pytest.raises(ResourceError, match=r"cannot be written \(.*No space left.*\): make room there, or set TMPDIR"):
        census(Many(41), size=None, tile=None)


def test_the_list_on_this_machine_goes_with_the_census(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = census(Many(41), size=None, tile=None)
    assert len(list(tmp_path.iterdir())) == 1
    del found
    assert not list(tmp_path.iterdir())


def test_a_file_that_vanishes_is_named(data):
    layout = folder(data)
    source = next(layout.sources())
    vanishing = dataclasses.replace(source, image="images/gone.png")

    class Vanishing(type(layout)):
        def sources(self):
            yield vanishing

    with pytest.raises(DataError, match=r"images/gone\.png cannot be read"):
        census(Vanishing(layout.files, layout.classes), size=None, tile=None)


def test_memory_does_not_grow_with_the_list(tmp_path):
    def peak(count):
        storage, layout = open_storage(Path(tmp_path, str(count))), Many(count)
        tracemalloc.start()
        found = census(layout, size=None, tile=None)
        write_listing(storage, found)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(10)  # whatever is loaded once
    assert peak(8_000) < 8_000 * 100  # held as objects they would take 400 bytes each
