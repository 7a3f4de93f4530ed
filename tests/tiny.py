"""A run small enough for tests: generated scenes of 48x64, an untrained SqueezeNet, two rounds of two epochs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray._private.state

from pipelines.config import Config, load
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.storage import open_storage

SETTINGS = {
    "run": "tiny",
    "data.layout": "scenes",
    "data.images": "16",
    "data.size": "[48, 64]",
    "superpixels.segments": "20",
    "model.architecture": "fcn8",
    "model.encoder": "squeezenet1_0",
    "model.weights": "null",
    "training.epochs": "2",
    "training.augmentation.crop": "null",
    "training.batch_size": "4",
    "labelling.rounds": "2",
    "labelling.pixels_per_image": "5",
    "cluster.workers": "1",
    "cluster.actors": "1",
    "cluster.cpus_per_worker": "1",
    "register.name": "tiny",
}


def overrides(root: Path, **changes: str) -> list[str]:
    """`--set` arguments of a tiny run below a folder; changes as section__field."""
    settings = {
        **SETTINGS,
        "storage.root": str(root),
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return [f"{key}={value}" for key, value in settings.items()]


def config(root: Path, **changes: str) -> Config:
    """The configuration of a tiny run below a folder."""
    return load("demo", overrides(root, **changes))


def console() -> Console:
    """A console that prints plain lines."""
    return Console(verbose=False)


def command(verb: str, root: Path, **changes: str) -> list[str]:
    """The command line of a tiny run."""
    arguments = [part for override in overrides(root, **changes) for part in ("--set", override)]
    return [sys.executable, "-m", "pipelines", verb, "--config", "demo", "--json", *arguments]


def run(verb: str, root: Path, *, address: str, **changes: str) -> dict[str, Any]:
    """Run a verb as a user would, attached to a running Ray; its JSON line."""
    finished = subprocess.run(
        command(verb, root, **changes),
        env={**os.environ, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout.strip().splitlines()[-1])


def actors(class_name: str) -> list[int]:
    """Process ids of the living actors of a class, in the connected Ray only."""
    return [
        actor["Pid"]
        for actor in ray._private.state.actors().values()
        if actor["ActorClassName"].startswith(class_name) and actor["State"] == "ALIVE"
    ]


@contextmanager
def reopened(root: Path, **changes: str) -> Iterator[tuple[Any, Ledger]]:
    """The tiny run below a folder, held by this process."""
    plan = config(root, **changes)
    storage = open_storage(root)
    record = Ledger.read(storage, "tiny").record
    with Ledger.open(storage, "tiny", record["identity"], record["config"], record["versions"]) as ledger:
        yield plan, ledger
