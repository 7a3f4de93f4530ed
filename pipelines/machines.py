"""The machines that a cluster has, and those that its autoscaler may start when they are asked for."""

from collections import Counter

import ray
import ray._private.state

MOST = 1000
"""Machines of one kind that are counted, where the autoscaler sets no limit."""


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
    # Ray says so nowhere else.
    config = ray._private.state.state.get_cluster_config()
    if config is None:
        return []
    return [
        ({name: float(value) for name, value in kind.resources.items()}, int(kind.max_count))
        for kind in config.node_group_configs
    ]
