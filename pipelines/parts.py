"""A model over the parts of a pool: Ray Data over an actor pool, as `score` and `evaluate` use it.

Each actor loads the model once and is then given one part (a Parquet file of a few dozen images) at a time. What
comes back is small whatever the pool: the stages reduce inside the actor.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import ray
import ray.data
import torch

from pipelines.chunks import ROW_GROUP
from pipelines.config import Config
from pipelines.credentials import worker_env
from pipelines.ledger import Ledger
from pipelines.pool import Pool
from pipelines.resources import use_gpu
from pipelines.rounds import ready_model
from weakseg.errors import DataError, DivergedError, ImageError, LedgerError, ResourceError, WeaksegError

_FAULT = "users fault"
_RAISED = {kind.__name__: kind for kind in (DataError, DivergedError, ImageError, LedgerError, ResourceError)}


AT_ONCE = ROW_GROUP
"""Decoded images of a part that an actor holds: a part of tiles may have thousands."""

_Row = TypeVar("_Row")


class PartWorker(Protocol):
    """What runs in an actor: made once from keyword arguments, then called with one part number after another."""

    def __call__(self, part: int) -> pa.Table:
        """The part's rows of the result."""


class _Actor:
    """Ray Data's side of a part worker: a batch holds part numbers."""

    def __init__(self, worker: type[PartWorker], arguments: Mapping[str, Any], threads: int, gpu: bool) -> None:
        if not gpu:
            # Ray may leave all of a machine's GPUs in sight of who asked for none.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        torch.set_num_threads(threads)
        self._worker = worker(**arguments)

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        try:
            return pa.concat_tables([self._worker(int(part)) for part in batch["part"]])
        except WeaksegError as error:  # raised, it would come back as Ray's own error, whose cause does not travel
            return pa.table({_FAULT: [str(error)], "kind": [type(error).__name__]})


def over_parts(
    config: Config,
    parts: Sequence[int],
    worker: type[PartWorker],
    arguments: Mapping[str, Any],
    *,
    threads: int | None = None,
) -> Iterator[pa.Table]:
    """Run a part worker over the parts, on the configured number of actors.

    Args:
        config: Says how many actors, with how many CPUs, and whether on GPUs.
        parts: Part numbers.
        worker: The class each actor makes once.
        arguments: Its keyword arguments; they travel to every actor.
        threads: Of torch on a CPU; None = as many as an actor has CPUs.

    Yields:
        Tables of finished parts, in whatever order they finish.

    Raises:
        WeaksegError: What a worker says that the user must put right.
    """
    if not parts:
        return
    dataset = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts)).map_batches(
        _Actor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(config.cluster.actors, len(parts))),
        fn_constructor_kwargs={
            "worker": worker,
            "arguments": dict(arguments),
            "threads": threads or max(1, int(config.cluster.cpus_per_worker)),
            "gpu": use_gpu(config),
        },
        num_cpus=config.cluster.cpus_per_worker,
        num_gpus=1 if use_gpu(config) else None,
        runtime_env=worker_env(),
    )
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        if _FAULT in table.column_names:
            raise _RAISED.get(table["kind"][0].as_py(), WeaksegError)(table[_FAULT][0].as_py())
        yield table


def grouped(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """A part's images, so many at a time that memory does not grow with the part."""
    left = iter(rows)
    while group := list(islice(left, AT_ONCE)):
        yield group


def batch_size(pool: Pool) -> int | None:
    """Of predictions of a pool: the device's own, 1 where sizes differ: batches of each would mostly be filled up."""
    (least_height, height), (least_width, width) = pool.manifest["height"], pool.manifest["width"]
    return None if (least_height, least_width) == (height, width) else 1


def model_files(ledger: Ledger, round: int) -> dict[str, Any]:
    """The round's model as it travels to actors: its spec, and its weights' bytes by reference.

    The driver keeps the reference, so that an actor that is started again finds them.
    """
    return {
        "spec": ledger.read_json(f"{ledger.round(round)}/model.json"),
        "weights": ray.put(ledger.read_bytes(f"{ledger.round(round)}/model.safetensors")),
    }


def load_model(files: Mapping[str, Any]) -> torch.nn.Module:
    """The model of :func:`model_files`, ready to predict on this actor's device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return ready_model(files["spec"], ray.get(files["weights"]), device=device)
