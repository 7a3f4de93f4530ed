"""What the predict stage leaves in its output folder: which file holds what, and which are there already.

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
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.serving.registered import Registered
from pipelines.storage import Storage
from weakseg.datasets import Classes
from weakseg.datasets.layout import code, codes, position, stem
from weakseg.errors import ResourceError
from weakseg.prediction import View

ROWS = pa.schema(
    [
        ("name", pa.string()),  # relative to the input folder
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("shares", pa.list_(pa.float32())),  # of each class among the pixels, in the order of classes.yaml
        ("error", pa.string()),  # why there is no mask; null where there is one
    ]
)


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


def written(storage: Storage) -> NDArray[np.uint64]:
    """Codes of all files that the output holds, sorted."""
    folders = ("parts", "masks", "probabilities", "overlays")
    found = np.concatenate([codes(storage.list(folder)) for folder in folders])
    found.sort()
    return found


def finished(
    storage: Storage, there: NDArray[np.uint64], names: Sequence[str], probabilities: bool, overlays: bool
) -> bool:
    """Whether all of a chunk is there; one with quarantined images is looked at again, they may have been repaired."""
    keys = (key for name in names for key in output_keys(name, probabilities=probabilities, overlays=overlays))
    return all(position(there, code(key)) is not None for key in (part_key(names), *keys))


def row(name: str, mask_HW: NDArray[np.generic], classes: int) -> dict[str, Any]:
    """What predictions.parquet says of an image that has a mask."""
    counts_C = np.bincount(mask_HW.ravel(), minlength=classes)[:classes]
    height, width = mask_HW.shape
    return {"name": name, "height": height, "width": width, "shares": (counts_C / mask_HW.size).tolist(), "error": None}


def summarise(storage: Storage, classes: Classes, parts: Iterator[pa.Table]) -> dict[str, Any]:
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


def settle(storage: Storage, registered: Registered, view: View) -> None:
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
