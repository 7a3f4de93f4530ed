"""Whether every node of the cluster can do its part, asked before anything is spent."""

import pickle
import socket
import sys
import uuid
from collections.abc import Iterator

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.credentials import worker_env
from pipelines.storage import Storage
from weakseg import __version__


def faults(storage: Storage, wait: float) -> Iterator[str]:
    """Whether every node imports this weakseg and sees this storage: one line per fault.

    Args:
        storage: Where everything will be kept.
        wait: Seconds for each node to answer.
    """
    key = f".probe-{uuid.uuid4().hex}"
    storage.write_bytes(key, b"weakseg")
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        answers = {node["NodeID"]: _probe(node["NodeID"], storage, key) for node in nodes}
        ray.wait(list(answers.values()), num_returns=len(answers), timeout=wait)
        for node in nodes:
            yield from _node_fault(node["NodeManagerHostname"], answers[node["NodeID"]], storage)
    finally:
        storage.delete_tree(key)


def gpu_fault(wait: float, *, gpus: int = 1) -> str | None:
    """Why torch cannot use a GPU that Ray counts; None where it can, or all are busy.

    Args:
        wait: Seconds to wait for a GPU and its answer.
        gpus: How many to ask Ray for.
    """
    answer = ray.remote(try_gpu).options(num_cpus=0, num_gpus=gpus, max_retries=0, runtime_env=worker_env()).remote()
    answered, _ = ray.wait([answer], timeout=wait)
    if not answered:
        ray.cancel(answer)
        return None
    try:
        host, reason = ray.get(answer)
    except RayError as error:
        host, reason = "of a GPU", str(error).strip().splitlines()[-1]
    if not reason:
        return None
    return (
        f"torch cannot use the GPU that Ray counts on node {host} ({reason}); "
        "install a torch there that fits its driver and GPU"
    )


def try_gpu() -> tuple[str, str]:
    """This machine's name, and why torch cannot compute on its GPU; empty where it can."""
    import torch

    try:
        # Ray counts GPUs by their driver. Whether torch is made for that, and for their kind, a kernel tells.
        (torch.zeros(1, device="cuda") + 1).item()
    except (RuntimeError, AssertionError) as error:
        return socket.gethostname(), str(error).strip().splitlines()[0]
    return socket.gethostname(), ""


def _probe(node_id: str, storage: Storage, key: str) -> "ray.ObjectRef[tuple[str, str, str]]":
    """Ask a node for its weakseg and Python versions and what is wrong with the storage as it sees it."""
    packed = pickle.dumps(storage)

    def probe() -> tuple[str, str, str]:  # nested, so that it travels by value: the node may not have this module
        import pickle
        import sys

        import weakseg

        fault = ""
        try:
            pickle.loads(packed).read_bytes(key)
        except FileNotFoundError:
            fault = "it does not see it; use a folder that all nodes share, or s3://bucket/prefix"
        except weakseg.errors.WeaksegError as error:
            fault = str(error)
        return weakseg.__version__, ".".join(map(str, sys.version_info[:2])), fault

    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    options = {"num_cpus": 0, "max_retries": 1, "scheduling_strategy": on_node, "runtime_env": worker_env()}
    return ray.remote(probe).options(**options).remote()


def _node_fault(host: str, answer: "ray.ObjectRef[tuple[str, str, str]]", storage: Storage) -> Iterator[str]:
    """What is wrong with one node's answer."""
    try:
        version, python, fault = ray.get(answer, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        yield f"cluster: node {host} does not answer; check it with `ray status`"
        return
    except (RayError, ImportError) as error:
        reason = str(error).strip().splitlines()[-1]
        yield f"cluster: weakseg cannot be imported on node {host} ({reason}); install it there"
        return
    here = ".".join(map(str, sys.version_info[:2]))
    if (version, python) != (__version__, here):
        yield f"cluster: node {host} has weakseg {version} on Python {python}, here it is {__version__} on {here}"
    if fault:
        yield f"storage.root: {storage.root} on node {host}: {fault}"
