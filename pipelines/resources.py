"""Ray found or started, and whether it can carry the plan: refused in one line before anything is spent."""

import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from pipelines import node_probe, signals, tracking_server
from pipelines.config import Config
from pipelines.credentials import worker_env
from pipelines.machines import machines, total
from pipelines.storage import Storage
from weakseg.errors import ResourceError

OBJECT_STORE = 300 * 2**20
"""Bytes of object store of a Ray started here: encoded images and labels pass through it, never full maps."""

LEAST_DISK = 512 * 2**20
"""Free bytes below which nothing is begun."""


@dataclass(frozen=True)
class Names:
    """What a plan's numbers are called where it is refused: the settings, or a command's own options.

    Attributes:
        workers: Training workers; None = there are none to speak of.
        actors: Actors.
        cpus: What decides on the CPUs of each.
        gpu: What decides on GPUs.
        no_gpu: How to do without.
    """

    workers: str | None = "cluster.workers"
    actors: str = "cluster.actors"
    cpus: str = "cluster.cpus_per_worker"
    gpu: str = "cluster.gpu"
    no_gpu: str = "set cluster.gpu to false"


SETTINGS = Names()


def connect(config: Config, *, verbose: bool = False) -> None:
    """Connect to the Ray that RAY_ADDRESS names, else start one on this machine; nothing if connected already.

    RAY_AUTH_MODE is the user's: unset, a Ray started here protects itself with a token in ~/.ray, as is Ray's default.
    MLflow's credentials are blanked for everything that this driver starts remotely.

    Args:
        config: The plan, which decides how many logical CPUs a small machine offers.
        verbose: Whether the messages of Ray and of its workers are shown.

    Raises:
        ResourceError: If there is no Ray at RAY_ADDRESS.
    """
    if ray.is_initialized():
        return
    options: dict[str, Any] = {} if verbose else {"log_to_driver": False, "logging_level": "ERROR"}
    if blank := worker_env():
        # For whatever runs remotely, Ray's own helpers too. The variable lets it stand against a job's env_vars.
        options["runtime_env"] = blank
        os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    address = os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        try:
            _knock(address)
            with signals.kept():
                ray.init(address=address, **options)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            fault = f"no Ray answers at RAY_ADDRESS={address} ({reason}); unset it to start one here"
            raise ResourceError(fault) from error
        return
    # Read by the workers, which inherit it: a task that asked for no GPU sees none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    with signals.kept():
        ray.init(
            address="local",
            num_cpus=local_cpus(config, os.cpu_count() or 1),
            object_store_memory=OBJECT_STORE,
            include_dashboard=False,
            **options,
        )


def _knock(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would wait a minute and then end the process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def local_cpus(config: Config, cores: int) -> int:
    """Logical CPUs of a Ray started here: the cores, and up to one more where the plan needs it.

    Ray Data's own tasks hold a CPU and mostly wait, so that a laptop of two cores can score on two actors.
    """
    return max(cores, min(_needed(config), max(3, cores + 1)))


def driver_share() -> dict[str, float]:
    """What an actor that must live as long as the driver asks for beside CPUs: a share of `driver`, or of the head.

    Nodes with that custom resource are not taken away, nor is the head where there is none; all others may be.
    """
    return {"driver": 0.01} if _total("driver") else {"node:__internal_head__": 0.001}


def misplaced() -> str | None:
    """Whether this driver sits where it may be taken away although the cluster has a place for it.

    Returns:
        One line that says so and what to do.
    """
    own = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"]]
    places = {node["NodeID"]: node["NodeManagerHostname"] for node in alive if node["Resources"].get("driver")}
    if not places or own in places:
        return None
    hosts = ", ".join(sorted(set(places.values())))
    return (
        "warning: this driver runs on a node without the resource `driver`, which may be taken away under it; "
        f"submit it with --entrypoint-resources '{{\"driver\": 1}}' to run it on {hosts}"
    )


def use_gpu(config: Config) -> bool:
    """Whether the stages run on GPUs: as configured, else where the connected Ray has one for each worker and actor.

    Of elastic workers the least count, and machines that an autoscaler has yet to start do too.
    """
    if config.cluster.gpu is not None:
        return config.cluster.gpu
    return total("GPU") >= _at_once(config)


def runs_at_once(config: Config) -> int:
    """How many runs of this plan the connected cluster can hold side by side; 0 = not even one.

    A run holds the most that any of its stages does, from start to end: two that wait for each other's would both
    stand still.
    """
    nodes = machines()
    by_cpus = int(sum(node.get("CPU", 0.0) for node in nodes) // _needed(config))
    return min(by_cpus, _room(config, nodes) // _at_once(config))


def most_cpus(config: Config) -> float:
    """The most CPUs that each actor could reserve, so that one still fits: those of the largest machine.

    One more must be left for the Ray Data tasks that feed it.
    """
    nodes, gpus = machines(), use_gpu(config)
    largest = max((node.get("CPU", 0.0) for node in nodes if not gpus or node.get("GPU", 0.0) >= 1), default=0.0)
    return max(1.0, min(largest, sum(node.get("CPU", 0.0) for node in nodes) - 1))


def check(
    config: Config, storage: Storage, *, trains: bool = True, wait: float = 60.0, names: Names = SETTINGS
) -> None:
    """Refuse a plan that the connected Ray, the storage or the tracking server cannot carry out.

    Args:
        config: The plan.
        storage: Where everything will be kept.
        trains: Whether a model will be trained; what a GPU trained in half precision predicts anywhere.
        wait: Seconds to wait for CPUs and GPUs that other work holds, and for each node to answer.
        names: What the plan's numbers are called.

    Raises:
        ResourceError: One line per fault.
    """
    faults = [*_job_faults(storage), *_storage_faults(storage), *tracking_server.faults(config, storage)]
    too_large = list(_capacity_faults(config, names))
    if trains and not too_large:
        too_large += _precision_faults(config)
    faults += too_large
    if not too_large:
        faults += _busy_faults(config, wait, names)
    if not faults:
        faults += node_probe.faults(storage, wait)
    if not faults and use_gpu(config) and _total("GPU") and (fault := node_probe.gpu_fault(wait)):
        faults.append(f"{names.gpu}: {fault}, or {names.no_gpu}")
    if faults:
        raise ResourceError("\n".join(faults))


def _at_once(config: Config) -> int:
    """The most workers or actors that a stage has at least."""
    return max(config.cluster.least_workers, config.cluster.actors)


def _needed(config: Config) -> int:
    """CPUs that the largest stage holds at least at once: training, or actors and one task that feeds them."""
    cluster = config.cluster
    most = max(cluster.least_workers * cluster.cpus_per_worker, cluster.actors * cluster.cpus_per_worker + 1)
    return int(-(-most // 1))


def _total(resource: str) -> float:
    return float(ray.cluster_resources().get(resource, 0.0))


def _room(config: Config, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many workers or actors fit on nodes: what is left over on several does not add up to another."""
    each, gpus = config.cluster.cpus_per_worker, use_gpu(config)
    return sum(int(min(node.get("CPU", 0.0) / each, node.get("GPU", 0.0) if gpus else math.inf)) for node in nodes)


def _capacity_faults(config: Config, names: Names) -> Iterator[str]:
    """What the cluster could not hold even if it were idle and as large as it may grow."""
    nodes, actors, each = machines(), config.cluster.actors, config.cluster.cpus_per_worker
    cpus, gpus = sum(node.get("CPU", 0.0) for node in nodes), sum(node.get("GPU", 0.0) for node in nodes)
    asked = [(names.actors, "actors", actors)]
    if names.workers is not None:
        asked.insert(0, (names.workers, "workers", config.cluster.least_workers))
    if use_gpu(config) and gpus < max(count for *_, count in asked):
        who = " and ".join(f"{count} {what}" for _, what, count in asked)
        lower = " and ".join(name for name, *_ in asked)
        yield f"{names.gpu}: {who} need a GPU each, the cluster has {gpus:g}; lower {lower}, or {names.no_gpu}"
        return
    room = _room(config, nodes)
    for name, _, count in asked:
        if room < count:
            where = f"{cpus:g} CPUs on {len(nodes)} node{'s' if len(nodes) > 1 else ''}"
            yield (
                f"{name}: {count} with {each:g} CPUs each ({names.cpus}) "
                f"do not fit: the cluster has {where}, room for {room}"
            )
            return
    if cpus < actors * each + 1:
        yield (
            f"{names.actors}: {actors} with {each:g} CPUs each leave no CPU "
            f"for the Ray Data tasks that feed them: the cluster has {cpus:g}; lower one of them"
        )


def _precision_faults(config: Config) -> Iterator[str]:
    """Whether training is to be in half precision where :func:`use_gpu` finds too few GPUs."""
    precision = config.training.precision
    if precision != "fp32" and not use_gpu(config):
        yield (
            f"training.precision: {precision} needs a GPU for each of {_at_once(config)} "
            f"workers or actors, the cluster has {total('GPU'):g}; set it to fp32"
        )


def _busy_faults(config: Config, wait: float, names: Names) -> list[str]:
    """Wait for CPUs and GPUs that other work holds (those of a driver that died are given back in seconds)."""
    deadline = time.monotonic() + wait
    needs = {"CPU": _needed(config)}
    if use_gpu(config):
        needs["GPU"] = _at_once(config)
    for kind, needed in needs.items():
        if _total(kind) < needed:
            continue  # more machines are to come, or the plan would have been refused: Ray starts them when it is asked
        to_come = total(kind) - _total(kind)
        while (free := float(ray.available_resources().get(kind, 0.0))) + to_come < needed:
            if time.monotonic() > deadline:
                held = f"{_total(kind) - free:g} of the cluster's {_total(kind):g} {kind}s"
                fewer = names.workers or names.actors
                return [f"cluster: other work holds {held}, {needed} are needed; try again later or lower {fewer}"]
            time.sleep(0.2)
    return []


def _job_faults(storage: Storage) -> Iterator[str]:
    """Whether a job would keep its results where they are thrown away with it."""
    here, root = Path.cwd(), Path(storage.path)
    if storage.is_local and "working_dir_files" in here.parts and root.is_relative_to(here):
        yield (
            f"storage.root: {root.relative_to(here)} lies in the folder that Ray unpacked for this job and deletes "
            "after it; use s3://bucket/prefix, or the absolute path of a folder that all nodes share"
        )


def _storage_faults(storage: Storage) -> Iterator[str]:
    """Whether the storage can be written and has room."""
    try:
        storage.check()
    except (ResourceError, OSError) as error:
        yield f"storage.root: {storage.root} cannot be written: {error}" if storage.is_local else str(error)
        return
    # What goes to S3 is made on the local disk first.
    name, folder = ("storage.root", storage.root) if storage.is_local else ("TMPDIR", tempfile.gettempdir())
    if Path(folder).is_dir():
        free = shutil.disk_usage(folder).free
        if free < LEAST_DISK:
            left, least = f"{free / 2**20:.0f} MB", f"{LEAST_DISK / 2**20:.0f} MB"
            yield f"{name}: {folder} has {left} left, at least {least} are needed"
