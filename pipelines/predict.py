"""The predict stage: a registered model over a folder of images, once for every image.

The images are cut into chunks; an actor takes a chunk, writes each image's probabilities, overlay and mask (in this
order, each whole or not at all) and then the chunk's rows. So the same command after a crash at any moment predicts
what has no mask yet; the rows of a chunk that was cut short are read off its masks again.

```
masks/a/b.png           palette PNG; the pixels are class indices, the palette the classes' colours
probabilities/a/b.npy   float16 (classes, height, width), calibrated; if asked for
overlays/a/b.png        the image under the classes' colours; if asked for
predictions.parquet     a row per image: what ROWS says
classes.yaml            what the indices mean
predictions.json        which model, with which settings
parts/                  rows of finished chunks, from which predictions.parquet is made
```
"""

import hashlib
import io
import json
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray

from pipelines import resources
from pipelines.config import Config
from pipelines.config.cluster import Cluster
from pipelines.config.data import Data
from pipelines.config.tracking import Tracking
from pipelines.console import Console, duration
from pipelines.inputs import image_names, open_inputs
from pipelines.parts import load_model, over_parts
from pipelines.s3 import is_s3
from pipelines.serving.registered import Registered, fetch, store_of
from pipelines.storage import Storage, open_storage
from weakseg.codec import decode_image, encode_palette, encode_png, read_mask
from weakseg.datasets import Classes, Files, LocalFiles
from weakseg.datasets.layout import code, codes, position, read_file, stem
from weakseg.errors import DataError, ResourceError
from weakseg.prediction import Prediction, View, segment

ROWS = pa.schema(
    [
        ("name", pa.string()),  # relative to the input folder
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("shares", pa.list_(pa.float32())),  # of each class among the pixels, in the order of classes.yaml
        ("error", pa.string()),  # why there is no mask; null where there is one
    ]
)
_OPTIONS = {
    "cluster.gpu: 1 workers and ": "--gpu: ",
    "cluster.gpu: ": "--gpu: ",
    "set cluster.gpu to false": "give --no-gpu",
    "cluster.workers and cluster.actors": "--actors",
    "lower cluster.workers": "lower --actors",
    "cluster.workers: ": "--actors: ",
    "(cluster.cpus_per_worker)": "(as many as it was checked with)",
    "with --set storage.root=FOLDER": "with --output FOLDER",
    "set storage.root to": "make --output",
    "storage.root": "--output",
    "data.path": "--input",
    "cluster.actors": "--actors",
    "tracking.uri": "--tracking-uri",
}
_SHOWN = 10
"""Quarantined images named on the console; predictions.parquet names all."""

Image = np.ndarray


class Predictor:
    """Predicts one chunk after the other."""

    def __init__(
        self,
        model: Mapping[str, Any],
        view: View,
        classes: Classes,
        files: Files,
        output: Storage,
        names: ray.ObjectRef,
        chunk: int,
        probabilities: bool,
        overlays: bool,
    ) -> None:
        """Load the model."""
        self._model, self._view, self._classes = load_model(model), view, classes
        self._files, self._output = files, output
        self._names: pa.ChunkedArray = ray.get(names)
        self._chunk, self._probabilities, self._overlays = chunk, probabilities, overlays

    def __call__(self, part: int) -> pa.Table:
        """Predict what is missing of a chunk; how many images it has and how many were predicted now."""
        names = chunk_names(self._names, part, self._chunk)
        rows: dict[str, dict[str, Any]] = {}
        waiting: deque[tuple[str, Image]] = deque()
        predicted = 0
        found = segment(
            self._model,
            self._missing(names, rows, waiting),
            view=self._view,
            probabilities=self._probabilities,
        )
        for prediction in found:
            name, image_HW3 = waiting.popleft()
            self._write(name, image_HW3, prediction)
            rows[name] = _row(name, prediction.mask, len(self._classes))
            predicted += 1
        table = pa.Table.from_pylist([rows[name] for name in names], schema=ROWS)
        self._output.write_table(part_key(names), table)
        return pa.table({"images": [len(names)], "predicted": [predicted]})

    def _missing(
        self, names: Sequence[str], rows: dict[str, dict[str, Any]], waiting: deque[tuple[str, Image]]
    ) -> Iterator[Image]:
        """The images without a mask, decoded; of the others the row."""
        for name in names:
            wanted = output_keys(name, probabilities=self._probabilities, overlays=self._overlays)
            try:
                if all(self._output.exists(key) for key in wanted):
                    rows[name] = _row(name, read_mask(self._output.read_bytes(wanted[-1])), len(self._classes))
                    continue
                image_HW3 = decode_image(read_file(self._files, name))
            except (DataError, ValueError) as error:  # ValueError: a name that is no key, such as one with a backslash
                self._refuse_unshared()
                rows[name] = {"name": name, "error": str(error)}
                continue
            waiting.append((name, image_HW3))
            yield image_HW3

    def _refuse_unshared(self) -> None:
        """An input that this node does not have is not a folder of bad images."""
        if isinstance(self._files, LocalFiles) and not self._files.is_folder(""):
            raise ResourceError(
                f"--input: there is no folder {self._files.root} on node {socket.gethostname()}; "
                "use one that all nodes share, or s3://bucket/prefix"
            )

    def _write(self, name: str, image_HW3: Image, prediction: Prediction) -> None:
        """The mask last: where it is, the others are."""
        if prediction.probabilities is not None:
            buffer = io.BytesIO()
            np.save(buffer, prediction.probabilities, allow_pickle=False)
            self._output.write_bytes(probabilities_key(name), buffer.getvalue())
        if self._overlays:
            from weakseg.figures import overlay  # it brings matplotlib

            painted = overlay(image_HW3, prediction.mask, self._classes.colors)
            self._output.write_bytes(overlay_key(name), encode_png(painted))
        self._output.write_bytes(mask_key(name), encode_palette(prediction.mask, self._classes.colors))


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
        resources.check_tracking(uri)
    registered = fetch(model, uri)
    view = with_windows(registered.view, tile=tile, overlap=overlap)
    plan = _plan(registered, actors=actors, gpu=gpu, uri=uri)
    with _in_our_words():
        files = open_inputs(input)
    with console.stage(f"list {input}") as stage:
        names = image_names(files)
        stage.advance(len(names))
    if not len(names):
        raise DataError(f"--input {input} holds no images")
    with _in_our_words():
        storage = open_storage(output)
        storage.check()
        _settle(storage, registered, view)
        resources.connect(plan, verbose=console.verbose)
        resources.check(plan, storage)
    found = run(
        plan, registered, view, files, names, storage, console=console, probabilities=probabilities, overlays=overlays
    )
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
    chunk = chunk_size(len(names), config.cluster.actors)
    chunks = range(-(-len(names) // chunk))
    there = _there(storage)
    pending = [
        part
        for part in chunks
        if not _finished(storage, there, chunk_names(names, part, chunk), probabilities, overlays)
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
        stage.advance(len(names) - sum(len(chunk_names(names, part, chunk)) for part in pending))
        for table in over_parts(config, pending, Predictor, arguments):
            predicted += pc.sum(table["predicted"]).as_py()
            stage.advance(pc.sum(table["images"]).as_py())
    parts = (storage.read_table(part_key(chunk_names(names, part, chunk))) for part in chunks)
    return {"predicted": predicted, **_summarise(storage, registered.classes, parts)}


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


def mask_key(name: str) -> str:
    """Where an image's mask goes."""
    return f"masks/{stem(name)}.png"


def probabilities_key(name: str) -> str:
    """Where an image's probabilities go."""
    return f"probabilities/{stem(name)}.npy"


def overlay_key(name: str) -> str:
    """Where an image's overlay goes."""
    return f"overlays/{stem(name)}.png"


def output_keys(name: str, *, probabilities: bool, overlays: bool) -> list[str]:
    """The files of an image, in the order in which they are written."""
    extras = [probabilities_key(name)] * probabilities + [overlay_key(name)] * overlays
    return [*extras, mask_key(name)]


def chunk_size(images: int, actors: int) -> int:
    """Images per chunk: a few chunks for each actor where there are few, some thousand chunks where there are many."""
    return min(max(1, -(-images // (4 * actors))), max(32, min(256, images // 1000)))


def chunk_names(names: pa.ChunkedArray, part: int, chunk: int) -> list[str]:
    """The names of a chunk."""
    return names.slice(part * chunk, chunk).to_pylist()


def part_key(names: Sequence[str]) -> str:
    """Where a chunk's rows go: named by its images, so that other images make no chunk look finished."""
    return f"parts/{hashlib.sha256(chr(0).join(names).encode()).hexdigest()[:24]}.parquet"


def _there(storage: Storage) -> NDArray[np.uint64]:
    """Codes of all files that the output holds, sorted."""
    folders = ("parts", "masks", "probabilities", "overlays")
    found = np.concatenate([codes(storage.list(folder)) for folder in folders])
    found.sort()
    return found


def _finished(
    storage: Storage, there: NDArray[np.uint64], names: Sequence[str], probabilities: bool, overlays: bool
) -> bool:
    """Whether all of a chunk is there; one with quarantined images is looked at again, they may have been repaired."""
    keys = (key for name in names for key in output_keys(name, probabilities=probabilities, overlays=overlays))
    return all(position(there, code(key)) is not None for key in (part_key(names), *keys))


def _row(name: str, mask_HW: Image, classes: int) -> dict[str, Any]:
    counts_C = np.bincount(mask_HW.ravel(), minlength=classes)[:classes]
    height, width = mask_HW.shape
    return {"name": name, "height": height, "width": width, "shares": (counts_C / mask_HW.size).tolist(), "error": None}


def _summarise(storage: Storage, classes: Classes, parts: Iterator[pa.Table]) -> dict[str, Any]:
    """Write predictions.parquet chunk by chunk, and add up what it says."""
    images, pixels = 0, 0
    counts_C = np.zeros(len(classes))
    quarantined: list[dict[str, str]] = []
    with storage.table_writer("predictions.parquet", ROWS) as writer:
        while group := list(islice(parts, 256)):
            table = pa.concat_tables(group)
            writer.write(table)
            bad = table.filter(pc.is_valid(table["error"]))
            quarantined += bad.select(["name", "error"]).to_pylist()
            good = table.filter(pc.is_null(table["error"]))
            if good.num_rows:
                shares_NC = pc.list_flatten(good["shares"]).to_numpy().reshape(-1, len(classes)).astype(np.float64)
                pixels_N = good["height"].to_numpy().astype(np.int64) * good["width"].to_numpy()
                counts_C += (shares_NC * pixels_N[:, None]).sum(0)
                pixels += int(pixels_N.sum())
            images += table.num_rows
    shares = dict(zip(classes.names, (counts_C / max(1, pixels)).tolist(), strict=True))
    return {"images": images, "quarantined": quarantined, "shares": shares}


def _settle(storage: Storage, registered: Registered, view: View) -> None:
    """Refuse an output that another model, or this one with other windows, has begun to fill."""
    asked = {"model": registered.address, "weights": hashlib.sha256(registered.weights).hexdigest(), **asdict(view)}
    text = json.dumps(asked, indent=1)
    if not storage.create_once("predictions.json", text.encode()):
        found = json.loads(storage.read_bytes("predictions.json"))
        asked = json.loads(text)
        changed = [name for name in asked if found.get(name) != asked[name]]
        if changed:
            was, now = ({name: which.get(name) for name in changed if name != "weights"} for which in (found, asked))
            raise ResourceError(
                f"--output {storage.root} holds predictions made with {was}, asked for now is {now}; "
                "name another folder, or delete that one"
            )
    storage.write_bytes("classes.yaml", registered.classes.to_yaml().encode())


def _plan(registered: Registered, *, actors: int, gpu: bool | None, uri: str) -> Config:
    """What resources are asked for: as many threads as the model was checked with, so that its bits are the same."""
    return Config(
        run="predict",
        data=Data(layout="scenes"),
        tracking=Tracking(uri=uri),
        cluster=Cluster(actors=actors, gpu=gpu, cpus_per_worker=float(registered.threads)),
    )


@contextmanager
def _in_our_words() -> Iterator[None]:
    """A fault of the plan, told with the command's options in place of the configuration's fields."""
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
