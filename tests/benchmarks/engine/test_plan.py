import tracemalloc

import pytest

from benchmarks.engine import plan
from pipelines import s3
from pipelines.sources import read_chunk
from pipelines.storage import open_storage


@pytest.fixture(autouse=True)
def client(monkeypatch):
    """What the benchmark puts in the client's place is taken away again."""
    monkeypatch.setattr(s3, "client", s3.client)


def test_the_simulated_bucket_is_planned_as_a_whole(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    monkeypatch.setattr(plan.ours, "scratch", lambda folder, name: _Folder(kept))
    with plan.planning(str(tmp_path)) as work:
        found = work(2_345)
    assert found == {"sources": 2_345, "chunks": 74}
    digest = next((kept / "pools").iterdir()).name
    sources = [source for chunk in range(74) for source in read_chunk(open_storage(str(kept)), digest, chunk)]
    assert [source.image for source in sources] == [f"images/flight-{number:09d}.jpg" for number in range(2_345)]
    assert sum(source.mask is None for source in sources) == 23


def test_memory_is_little_per_image(tmp_path):
    def peak(images):
        with plan.planning(str(tmp_path)) as work:
            tracemalloc.start()
            work(images)
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return highest

    peak(10)  # whatever is loaded once
    few, many = peak(20_000), peak(40_000)  # both above what is held of any listing
    assert (many - few) / 20_000 < plan.BYTES_PER_IMAGE


class _Folder:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self.path

    def __exit__(self, *exception):
        pass
