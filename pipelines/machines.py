"""The machines that a cluster has, and those that its autoscaler may start when they are asked for."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import ray
import ray._private.state
import yaml

MOST = 1000
"""Machines of one kind that are counted, where the autoscaler sets no limit."""

BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""Where `ray up` leaves its plan on the head."""

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes tells a container who it is."""


def machines() -> list[dict[str, float]]:
    """The resources of every machine alive, and of every one that could still be started.

    On a cluster that grows from nothing, a plan must be judged by what it may get.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    there = Counter(_size(node) for node in alive)
    return alive + [
        resources
        for resources, most in _kinds()
        for _ in range((MOST if most < 0 else min(most, MOST)) - there[_size(resources)])
    ]


def total(resource: str) -> float:
    """How much of a resource there may be in all."""
    return sum(float(node.get(resource, 0.0)) for node in machines())


def _size(resources: dict[str, float]) -> tuple[float, float]:
    """What tells kinds of machines apart: memory and the like differ from one to the next."""
    return resources.get("CPU", 0.0), resources.get("GPU", 0.0)


def _kinds() -> list[tuple[dict[str, float], int]]:
    """The kinds of machines that the autoscaler knows, and the most that it starts of each; below 0 = no limit."""
    if not ray.is_initialized():
        return []
    # Only some autoscalers leave their plan with Ray; that of `ray up` and that of KubeRay do not.
    config = ray._private.state.state.get_cluster_config()
    if config is not None and config.node_group_configs:
        return [
            ({name: float(value) for name, value in kind.resources.items()}, int(kind.max_count))
            for kind in config.node_group_configs
        ]
    plan = _launched() or _on_kubernetes()
    return [] if plan is None else _of_plan(plan)


def _launched() -> dict[str, Any] | None:
    """The plan of `ray up`, which lies on the head; None on another node, or if it is not that of the connected Ray."""
    file = Path(BOOTSTRAP).expanduser()
    if not file.is_file():
        return None
    plan = yaml.safe_load(file.read_text())
    head = _plain(plan["available_node_types"][plan["head_node_type"]]["resources"])
    there = [_plain(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return plan if any(head.items() <= ({"CPU": 0.0} | node).items() for node in there) else None


def _on_kubernetes() -> dict[str, Any] | None:
    """The plan of KubeRay's autoscaler, made of the RayCluster in which this process runs; None if it has none.

    The autoscaler is a container beside the head and reads the same with the same rights.
    """
    name, namespace = os.environ.get("RAY_CLUSTER_NAME"), Path(SERVICE_ACCOUNT, "namespace")
    if not name or not namespace.is_file():
        return None
    # Here, because elsewhere nobody needs them.
    import requests
    from ray.autoscaler._private.kuberay import autoscaling_config, node_provider

    try:
        cluster = node_provider.KubernetesHttpApiClient(namespace.read_text().strip()).get(f"rayclusters/{name}")
    except (OSError, requests.RequestException):
        return None  # no right to read it: then there is no autoscaler either
    if not cluster["spec"].get("enableInTreeAutoscaling"):
        return None
    return autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)


def _of_plan(plan: dict[str, Any]) -> list[tuple[dict[str, float], int]]:
    """The kinds of workers in an autoscaler's plan."""
    return [
        (
            {resource: float(value) for resource, value in kind.get("resources", {}).items()},
            int(kind.get("max_workers", plan["max_workers"])),
        )
        for name, kind in plan["available_node_types"].items()
        if name != plan["head_node_type"]
    ]


def _plain(resources: dict[str, float]) -> dict[str, float]:
    """Resources without memory, of which no two machines have the same."""
    return {name: float(value) for name, value in resources.items() if "memory" not in name}
