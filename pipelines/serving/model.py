"""The registered model as MLflow loads it ("models from code"): this file, `weakseg`, the weights and a description.

It imports `weakseg` alone, which travels with it; no Ray, no `pipelines`, nothing pickled.

In: a column `image` of encoded images (JPEG, PNG, TIFF, WebP, ...; base64 where the request is JSON).
Out, per row: a column `mask`, an 8-bit grey PNG of class indices of the image's own height and width. With
`params={"probabilities": true}` also a column `probabilities`: a `.npy` file of float16 (classes, height, width),
read by `numpy.load(io.BytesIO(value), allow_pickle=False)`; they are calibrated by the temperature that was fitted on
validation images. A model with one channel gives both classes, background and foreground.

A model trained on images resized to one size sees every image at that size: the image is resized exactly as
`prepare` does it, the probabilities are interpolated bilinearly to the image's own size, and the mask is the most
probable class there. A model trained on original images or on windows cut from them sees images as they are; one that
is higher or wider than the largest image in training it sees in overlapping windows of that size, faded into each
other. An image that has the training size is neither resized nor cut: its mask is byte for byte that of the pipeline.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from safetensors.torch import load_file

from weakseg.codec import decode_image, encode_mask
from weakseg.errors import ImageError
from weakseg.models import load
from weakseg.prediction import View, segment


class Segmenter(PythonModel):
    """Encoded images in, PNG masks out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights.

        Args:
            context: Artifacts `weights` and `description`. The configuration may name a `device` (default: CUDA
                where there is one) and the `threads` of a prediction on the CPU; another number than the pipeline's
                may change last bits, and with them a pixel here and there. null leaves torch's own.
        """
        config = context.model_config or {}
        description = json.loads(Path(context.artifacts["description"]).read_text(encoding="utf-8"))
        device = config.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = load(description["model"], load_file(context.artifacts["weights"])).to(device).eval()
        self._view = View.of(description)
        self._threads = config.get("threads")

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Segment every row's image.

        Args:
            context: Not used.
            model_input: A column `image` of bytes.
            params: `probabilities`: whether to give them too.

        Returns:
            Columns `mask` and, if asked for, `probabilities`; rows as in the input.

        Raises:
            MlflowException: A row holds no image that can be decoded; the text says which and why.
        """
        wanted = bool((params or {}).get("probabilities"))
        masks, maps = [], []
        images = (_decode(row, cell) for row, cell in enumerate(model_input["image"]))
        with _threads(self._threads):
            for found in segment(self._model, images, view=self._view, probabilities=wanted):
                masks.append(encode_mask(found.mask))
                if found.probabilities is not None:
                    maps.append(_npy(found.probabilities))
        columns = {"mask": masks} | ({"probabilities": maps} if wanted else {})
        return pd.DataFrame(columns, index=model_input.index, dtype=object)


def _decode(row: int, cell: Any) -> np.ndarray:
    if not isinstance(cell, bytes | bytearray | memoryview):
        raise MlflowException.invalid_parameter_value(
            f"row {row}: expected the bytes of an encoded image (base64 where it is JSON), got {type(cell).__name__}"
        )
    try:
        return decode_image(bytes(cell))
    except ImageError as error:
        raise MlflowException.invalid_parameter_value(f"row {row}: {error}") from error


def _npy(probs_CHW: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, probs_CHW, allow_pickle=False)
    return buffer.getvalue()


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Torch's threads for a while: they belong to the whole process, in which others may live."""
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


set_model(Segmenter())
