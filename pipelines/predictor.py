"""The actor of the predict stage: it takes one chunk of images after the other."""

import io
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from pipelines import predictions
from pipelines.parts import load_model
from pipelines.storage import Storage
from weakseg.codec import decode_image, encode_palette, encode_png, read_mask
from weakseg.datasets import Classes, Files, LocalFiles
from weakseg.datasets.layout import read_file
from weakseg.errors import DataError, ResourceError
from weakseg.prediction import Prediction, View, segment

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
        names = predictions.chunk_names(self._names, part, self._chunk)
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
            rows[name] = predictions.row(name, prediction.mask, len(self._classes))
            predicted += 1
        table = pa.Table.from_pylist([rows[name] for name in names], schema=predictions.ROWS)
        self._output.write_table(predictions.part_key(names), table)
        return pa.table({"images": [len(names)], "predicted": [predicted]})

    def _missing(
        self, names: Sequence[str], rows: dict[str, dict[str, Any]], waiting: deque[tuple[str, Image]]
    ) -> Iterator[Image]:
        """The images without a mask, decoded; of the others the row."""
        for name in names:
            wanted = predictions.output_keys(name, probabilities=self._probabilities, overlays=self._overlays)
            try:
                if all(self._output.exists(key) for key in wanted):
                    rows[name] = predictions.row(
                        name, read_mask(self._output.read_bytes(wanted[-1])), len(self._classes)
                    )
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
            self._output.write_bytes(predictions.probabilities_key(name), buffer.getvalue())
        if self._overlays:
            from weakseg.figures import overlay  # it brings matplotlib

            painted = overlay(image_HW3, prediction.mask, self._classes.colors)
            self._output.write_bytes(predictions.overlay_key(name), encode_png(painted))
        self._output.write_bytes(predictions.mask_key(name), encode_palette(prediction.mask, self._classes.colors))
