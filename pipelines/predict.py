"""The predict stage: a registered model over a folder of images, once for every image.

The images are cut into chunks; an actor takes a chunk, writes each image's probabilities, overlay and mask (in this
order, each whole or not at all) and then the chunk's rows. So the same command after a crash at any moment predicts
what has no mask yet; the rows of a chunk that was cut short are read off its masks again. What lies where
is said in :mod:`pipelines.predictions`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipelines import predictions, resources, tracking_server
from pipelines.config import Config
from pipelines.config.cluster import Cluster
from pipelines.config.data import Data
from pipelines.config.tracking import Tracking
from pipelines.console import Console, duration
from pipelines.inputs import image_names, open_inputs
from pipelines.parts import over_parts
from pipelines.predictor import Predictor
from pipelines.s3 import is_s3
from pipelines.serving.registered import Registered, fetch, store_of
from pipelines.storage import Storage, open_storage
from weakseg.datasets import Files
from weakseg.errors import DataError, ResourceError
from weakseg.prediction import View

_OPTIONS = {"--set storage.root=": "--output ", "storage.root": "--output", "tracking.uri": "--tracking-uri"}
"""What settings that storages and MLflow speak of are called here."""
_SHOWN = 10
"""Quarantined images named on the console; predictions.parquet names all."""


def predict(
    model: str,
    input: str,
    output: str,
    tile: tuple[int, int] | None,
    console: Console,
    *,
    probabilities: bool = False,
    overlays: bool = False,
    overlap: int | None = None,
    actors: int = 1,
    gpu: bool | None = None,
    tracking_uri: str | None = None,
) -> dict[str, Any]:
    """Predict every image below a folder: the verb `predict`.

    Args:
        model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        input: A folder or an s3:// address.
        output: The same; what is there already is not made again.
        tile: (height, width) of windows for larger images; None = the largest image in training.
        console: Where progress and the table go.
        probabilities: Whether to write them too.
        overlays: Whether to write them too.
        overlap: Of neighbouring windows, in pixels; None = a quarter of the window's smaller side.
        actors: Copies of the model that work at once.
        gpu: Whether they need a GPU each; None = where there is one for each.
        tracking_uri: See :func:`pipelines.serving.registered.store_of`.

    Returns:
        output, model, images, predicted (in this call), quarantined (name and error), seconds, shares by class.

    Raises:
        WeaksegError: What the user must put right, in one line.
    """
    started = time.monotonic()
    _refuse_nested(input, output)
    uri = store_of(tracking_uri)
    with _in_our_words():
        tracking_server.check(uri)
    registered = fetch(model, uri)
    view = with_windows(registered.view, tile=tile, overlap=overlap)
    plan = _plan(registered, actors=actors, gpu=gpu, uri=uri)
    files = open_inputs(input)
    with console.stage(f"list {input}") as stage:
        names = image_names(files)
        stage.advance(len(names))
    if not len(names):
        raise DataError(f"--input {input} holds no images")
    with _in_our_words():
        storage = open_storage(output)
        storage.check()
        predictions.settle(storage, registered, view)
        resources.connect(plan, verbose=console.verbose)
        plan = _reserving(plan, resources.most_cpus(plan), console)
        resources.check(plan, storage, names=_names(registered))
    extras = {"probabilities": probabilities, "overlays": overlays}
    with _in_our_words():
        found = run(plan, registered, view, files, names, storage, console=console, **extras)
    seconds = time.monotonic() - started
    _show(console, registered, output, found, seconds)
    return {"output": output, "model": registered.address, **found, "seconds": seconds}


def run(
    config: Config,
    registered: Registered,
    view: View,
    files: Files,
    names: pa.ChunkedArray,
    storage: Storage,
    *,
    console: Console,
    probabilities: bool = False,
    overlays: bool = False,
) -> dict[str, Any]:
    """Predict what is missing, then write the list of all.

    Args:
        config: Its section `cluster`.
        registered: The model.
        view: How it is to see images.
        files: Where the images are.
        names: Which, as :func:`pipelines.inputs.image_names` gives them.
        storage: Where the results go.
        console: Where progress goes.
        probabilities: Whether to write them too.
        overlays: Whether to write them too.

    Returns:
        images, predicted, quarantined, shares.
    """
    chunk = predictions.chunk_size(len(names), config.cluster.actors)
    chunks = range(-(-len(names) // chunk))
    there = predictions.written(storage)
    pending = [
        part
        for part in chunks
        if not predictions.finished(
            storage, there, predictions.chunk_names(names, part, chunk), probabilities, overlays
        )
    ]
    arguments = {
        "model": {"spec": registered.spec, "weights": ray.put(registered.weights)},
        "view": view,
        "classes": registered.classes,
        "files": files,
        "output": storage,
        "names": ray.put(names),
        "chunk": chunk,
        "probabilities": probabilities,
        "overlays": overlays,
    }
    predicted = 0
    with console.stage("predict", total=len(names)) as stage:
        stage.advance(len(names) - sum(len(predictions.chunk_names(names, part, chunk)) for part in pending))
        for table in over_parts(config, pending, Predictor, arguments, threads=registered.threads):
            predicted += pc.sum(table["predicted"]).as_py()
            stage.advance(pc.sum(table["images"]).as_py())
    parts = (storage.read_table(predictions.part_key(predictions.chunk_names(names, part, chunk))) for part in chunks)
    return {"predicted": predicted, **predictions.summarise(storage, registered.classes, parts)}


def with_windows(view: View, *, tile: tuple[int, int] | None, overlap: int | None) -> View:
    """A model's view, with other windows than those of its training where they are asked for.

    Raises:
        ResourceError: It sees images resized, or a number is out of range.
    """
    if tile is None and overlap is None:
        return view
    if view.size is not None:
        raise ResourceError(
            f"--tile, --overlap: the model was trained on images resized to {view.size[0]}x{view.size[1]} "
            "(height x width) and sees every image whole; leave them out"
        )
    try:
        return replace(view, window=tile or view.window, overlap=overlap)
    except ValueError as error:
        raise ResourceError(f"--tile, --overlap: {error}") from error


def _plan(registered: Registered, *, actors: int, gpu: bool | None, uri: str) -> Config:
    """What resources are asked for: a CPU for each thread that the model was checked with."""
    return Config(
        run="predict",
        data=Data(layout="scenes"),
        tracking=Tracking(uri=uri),
        cluster=Cluster(actors=actors, gpu=gpu, cpus_per_worker=float(registered.threads)),
    )


def _reserving(plan: Config, most: float, console: Console) -> Config:
    """The plan with so many CPUs for each actor at most: its threads stay, so that its bits are the same."""
    threads = plan.cluster.cpus_per_worker
    if threads <= most:
        return plan
    console.line(
        f"the model was checked with {threads:g} threads and predicts with as many, on the {most:g} CPUs that there are"
    )
    return plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"cpus_per_worker": most})})


def _names(registered: Registered) -> resources.Names:
    """What the plan's numbers are called in this command's options."""
    cpus = f"for the {registered.threads} threads that it was checked with"
    return resources.Names(workers=None, actors="--actors", cpus=cpus, gpu="--gpu", no_gpu="give --no-gpu")


@contextmanager
def _in_our_words() -> Iterator[None]:
    """A fault of storage or tracking, told with the command's options in place of settings."""
    try:
        yield
    except (ResourceError, DataError) as error:
        text = str(error)
        for field, option in _OPTIONS.items():
            text = text.replace(field, option)
        raise type(error)(text) from error


def _refuse_nested(input: str, output: str) -> None:
    """What is written must not become an input of the next call."""
    if is_s3(input) != is_s3(output):
        return
    paths = [Path(place) if is_s3(place) else Path(place).expanduser().resolve() for place in (output, input)]
    if paths[0].is_relative_to(paths[1]):
        raise DataError(
            f"--output {output} lies in --input {input}: masks would be taken for images; name another folder"
        )


def _show(console: Console, registered: Registered, output: str, found: Mapping[str, Any], seconds: float) -> None:
    quarantined = found["quarantined"]
    console.table(
        f"{found['images']} images ({found['predicted']} predicted now) in {duration(seconds)}, "
        f"{len(quarantined)} quarantined",
        ["class", "share of the pixels"],
        [[name, f"{100 * share:.1f} %"] for name, share in found["shares"].items()],
    )
    for row in quarantined[:_SHOWN]:
        console.line(f"quarantined: {row['name']}: {row['error']}")
    if len(quarantined) > _SHOWN:
        console.line(f"... and {len(quarantined) - _SHOWN} more, in predictions.parquet")
    console.line(f"model: {registered.address}")
    console.line(f"output: {output}")
