"""What every side of ours needs: its own small Ray, a configuration, a storage that is thrown away."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from pipelines.config import Config, load
from pipelines.console import Console

OBJECT_STORE = 150 * 2**20


@contextmanager
def ray_started(cpus: int = 2) -> Iterator[None]:
    """Ray on this machine with two logical CPUs and 150 MiB of object store."""
    import ray

    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        yield
    finally:
        ray.shutdown()


def config(root: Path, data: Path, settings: dict[str, Any]) -> Config:
    """The configuration of a benchmark.

    Args:
        root: Of the storage.
        data: A folder in CamVid's layout.
        settings: Further settings, `section.field` to value.
    """
    fixed = {
        "run": "bench",
        "storage.root": root,
        "data.path": data,
        "model.weights": "null",
        "cluster.gpu": "false",
        "cluster.workers": 1,
        "cluster.actors": 1,
        "tracking.uri": f"sqlite:///{root}/mlflow.db",
    }
    return load("camvid-cpu", [f"{name}={value}" for name, value in {**fixed, **settings}.items()])


def console() -> Console:
    """A console that nobody reads."""
    return Console(file=StringIO())


@contextmanager
def scratch(folder: str, name: str) -> Iterator[Path]:
    """An empty folder below another, gone afterwards."""
    path = Path(folder) / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
