"""The registered model as ONNX: for consumers without PyTorch, with any batch, height and width.

In: `image`, float32 (batch, 3, height, width), RGB in 0..1, not normalised: the graph does that, and the padding.
Out: `probabilities`, float32 (batch, classes, height, width), calibrated, at least two classes.

What the pyfunc does around the model (decoding, resizing to the training size, windows) is the caller's here.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from weakseg.errors import ResourceError
from weakseg.losses import two_channels
from weakseg.models import full_resolution

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Largest difference of a probability between ONNX Runtime and torch; 4e-6 was the most seen in any architecture."""
AGREEMENT = 0.999
"""Least share of pixels with the same most probable class."""
_TRACED = (2, 75, 101)
_CHECKED = ((1, 64, 96), (3, 37, 50))
"""(batch, height, width) of the check: none is the one that was traced; one is no multiple of any stride."""


class Calibrated(nn.Module):
    """A segmentation model from RGB in 0..1 to calibrated probabilities at full resolution."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        """Wrap a model in evaluation mode."""
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """probs_BCHW of image_B3HW."""
        logits_BCHW = full_resolution(self.model(image), (image.shape[-2], image.shape[-1]))
        return (two_channels(logits_BCHW) / self.temperature).softmax(1)


def require() -> None:
    """Refuse at once where the packages are missing.

    Raises:
        ResourceError: Which, and how to get them.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ResourceError(
            f"register.onnx: {', '.join(missing)} cannot be imported; pip install 'weakseg[pipelines,onnx]', "
            "or set register.onnx to false"
        )


def export(model: nn.Module, *, temperature: float = 1.0) -> bytes:
    """Export a model, and check the result against it.

    Args:
        model: From `build_model`.
        temperature: By which logits are divided.

    Returns:
        The ONNX file.

    Raises:
        ResourceError: A package is missing, the model cannot be exported, or the check fails; it names the model.
    """
    require()
    wrapped = Calibrated(model, temperature).cpu().eval()
    named = _named(model)
    dynamic = torch.export.Dim.DYNAMIC
    out = io.BytesIO()
    try:
        with _quiet():
            program = torch.onnx.export(
                wrapped,
                (torch.rand(_TRACED[0], 3, *_TRACED[1:], generator=torch.Generator().manual_seed(0)),),
                dynamo=True,
                dynamic_shapes={"image": {0: dynamic, 2: dynamic, 3: dynamic}},
                input_names=["image"],
                output_names=["probabilities"],
                verbose=False,
            )
        assert program is not None
        program.save(out, external_data=False)
    except Exception as error:  # the exporter fails in as many ways as there are operators
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise ResourceError(
            f"register.onnx: {named} cannot be exported to ONNX ({reason[0]}); set register.onnx to false"
        ) from error
    difference, agreement = parity(out.getvalue(), wrapped)
    if difference > TOLERANCE or agreement < AGREEMENT:
        raise ResourceError(
            f"register.onnx: {named} gives other results as ONNX: probabilities differ by up to {difference:.1e} "
            f"(at most {TOLERANCE:.0e}), {agreement:.2%} of the pixels have the same class (at least {AGREEMENT:.1%}); "
            "set register.onnx to false"
        )
    return out.getvalue()


def parity(exported: bytes, wrapped: nn.Module) -> tuple[float, float]:
    """How far ONNX Runtime is from torch, on two sizes and batches.

    Args:
        exported: The ONNX file.
        wrapped: What was exported.

    Returns:
        The largest difference of a probability, and the share of pixels with the same most probable class.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    worst, same, pixels = 0.0, 0, 0
    for batch, height, width in _CHECKED:
        image_B3HW = torch.rand(batch, 3, height, width, generator=generator)
        with torch.no_grad():
            expected = wrapped(image_B3HW).numpy()
        (given,) = session.run(["probabilities"], {"image": image_B3HW.numpy()})
        if given.shape != expected.shape:
            return float("inf"), 0.0
        worst = max(worst, float(np.abs(given - expected).max()))
        same += int((given.argmax(1) == expected.argmax(1)).sum())
        pixels += batch * height * width
    return worst, same / pixels


def _named(model: nn.Module) -> str:
    spec = getattr(model, "spec", None) or {}
    architecture, encoder = spec.get("architecture", type(model).__name__), spec.get("encoder")
    return architecture if encoder is None else f"{architecture} on {encoder}"


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells much about its own deprecations, and nothing that a user can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
