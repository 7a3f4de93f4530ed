from pathlib import Path

import pytest
import torch

from pipelines import node_probe
from pipelines.storage import Storage, open_storage

pytestmark = pytest.mark.ray


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def fault(storage: Storage) -> str:
    (found,) = node_probe.faults(storage, 60)
    return found


def test_a_node_with_another_weakseg_is_named(monkeypatch: pytest.MonkeyPatch, ray_session: str, storage: Storage):
    assert not list(node_probe.faults(storage, 60))
    monkeypatch.setattr(node_probe, "__version__", "99")
    assert "on Python" in (text := fault(storage))
    assert "here it is 99" in text


def test_a_node_without_weakseg_is_named(monkeypatch: pytest.MonkeyPatch, ray_session: str, storage: Storage):
    import ray

    def probe(node_id: str, storage: Storage, key: str) -> object:
        def fail() -> None:
            import no_such_package  # noqa: F401

        return ray.remote(fail).options(num_cpus=0, max_retries=0).remote()

    monkeypatch.setattr(node_probe, "_probe", probe)
    assert "weakseg cannot be imported on node" in (text := fault(storage))
    assert "No module named 'no_such_package'" in text


@pytest.mark.s3
def test_a_node_proves_that_it_sees_the_storage(monkeypatch: pytest.MonkeyPatch, ray_session: str, s3_root: str):
    on_s3 = open_storage(s3_root)
    assert list(node_probe.faults(on_s3, 60)) == []
    monkeypatch.setattr(type(on_s3), "write_bytes", lambda *given: None)  # what it is asked for is not there
    text = fault(on_s3)
    assert text.startswith(f"storage.root: {s3_root} on node ")
    assert "it does not see it" in text


def test_a_gpu_is_tried_where_ray_gives_one(ray_session: str):
    assert node_probe.gpu_fault(0.5) is None  # none is given: all are busy
    found = node_probe.gpu_fault(60, gpus=0)
    if torch.cuda.is_available():
        assert found is None
    else:
        assert found is not None
        assert found.startswith("torch cannot use the GPU that Ray counts on node ")
