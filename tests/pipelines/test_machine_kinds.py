"""Clusters that grow from nothing: what their autoscalers may start counts, read where each of them keeps its plan."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ray.autoscaler._private.kuberay import node_provider
from ray.autoscaler._private.util import prepare_config

from pipelines import machines, resources
from pipelines.config import load
from pipelines.storage import open_storage
from weakseg.errors import ResourceError

ROOT = Path(__file__).parents[2]
HEAD = {"driver": 100.0, "memory": 2.0**33, "node:__internal_head__": 1.0}
GROWN = [{"CPU": 16.0}] * 8 + [{"CPU": 8.0, "GPU": 1.0}] * 4


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cluster of a head alone, whose autoscaler left nothing with Ray; gives the driver's home folder."""
    node = {"Alive": True, "Resources": HEAD, "NodeID": "0", "NodeManagerHostname": "head"}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_CLUSTER_NAME", raising=False)
    monkeypatch.setattr(machines.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(machines.ray, "nodes", lambda: [node])
    monkeypatch.setattr(machines.ray, "cluster_resources", lambda: HEAD)
    monkeypatch.setattr(machines.ray._private.state.state, "get_cluster_config", lambda: None)
    monkeypatch.setattr(resources.node_probe, "faults", lambda storage, wait: [])
    return tmp_path


def sizes() -> list[dict[str, float]]:
    """CPUs and GPUs of all machines but the head."""
    found = [{name: value for name, value in node.items() if name in ("CPU", "GPU")} for node in machines.machines()]
    return [node for node in found if node]


def check(root: Path, workers: int) -> None:
    settings = ["training.batch_size=64", f"cluster.workers={workers}"]
    config = load("demo", settings)
    assert resources.use_gpu(config)
    resources.check(config, open_storage(root / "root"), wait=0)


def test_without_an_autoscaler_there_is_what_there_is(idle: Path):
    assert sizes() == []
    with pytest.raises(ResourceError, match="the cluster has 0 CPUs"):
        resources.check(load("demo", []), open_storage(idle / "root"), wait=0)


def test_what_ray_up_may_start_counts(idle: Path):
    """As `ray up cluster.yaml` puts it onto the head."""
    plan = prepare_config(copy.deepcopy(yaml.safe_load((ROOT / "cluster.yaml").read_text())))
    (idle / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(plan))
    assert sizes() == GROWN
    check(idle, 4)


def test_the_plan_of_another_cluster_does_not_count(idle: Path, monkeypatch: pytest.MonkeyPatch):
    """A Ray started beside the head's."""
    plan = prepare_config(copy.deepcopy(yaml.safe_load((ROOT / "cluster.yaml").read_text())))
    (idle / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(plan))
    node = {"Alive": True, "Resources": {"CPU": 2.0}, "NodeID": "0", "NodeManagerHostname": "head"}
    monkeypatch.setattr(machines.ray, "nodes", lambda: [node])
    assert sizes() == [{"CPU": 2.0}]


@pytest.fixture
def kubernetes(idle: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The RayCluster that the README's RayJob makes, as the API server shows it to the head."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (job,) = [yaml.safe_load(block) for block in blocks if "kind: RayJob" in block]
    cluster = {"metadata": {"name": "c-1", "namespace": "ml"}, "spec": job["spec"]["rayClusterSpec"]}
    (idle / "namespace").write_text("ml\n")
    monkeypatch.setenv("RAY_CLUSTER_NAME", "c-1")
    monkeypatch.setattr(machines, "SERVICE_ACCOUNT", str(idle))

    class Api:
        def __init__(self, namespace: str) -> None:
            assert namespace == "ml"

        def get(self, path: str) -> dict[str, Any]:
            assert path == "rayclusters/c-1"
            if cluster.get("forbidden"):
                raise requests.HTTPError("403")
            return cluster

    monkeypatch.setattr(node_provider, "KubernetesHttpApiClient", Api)
    return cluster


def test_what_kuberay_may_start_counts(idle: Path, kubernetes: dict[str, Any]):
    assert sizes() == GROWN
    check(idle, 4)


def test_groups_that_nothing_scales_do_not_count(kubernetes: dict[str, Any]):
    kubernetes["spec"]["enableInTreeAutoscaling"] = False
    assert sizes() == []


def test_a_cluster_that_may_not_be_read_is_as_large_as_it_is(kubernetes: dict[str, Any]):
    kubernetes["forbidden"] = True
    assert sizes() == []
