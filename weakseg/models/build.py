"""From names to a model that can be saved, rebuilt and trained under DDP."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from weakseg.errors import WeaksegError
from weakseg.models.encoders import check_encoder, imagenet_state, preprocessing
from weakseg.models.fcn import fcn8
from weakseg.models.output import Output
from weakseg.models.parts import Parts
from weakseg.models.smp import deeplabv3plus, fpn, unet
from weakseg.models.weights import load_encoder, load_strict, read_state
from weakseg.schema import VOID

ARCHITECTURES: dict[str, Callable[[str, int], Parts]] = {
    "deeplabv3plus": deeplabv3plus,
    "fpn": fpn,
    "unet": unet,
    "fcn8": fcn8,
}


class SegmentationModel(nn.Module):
    """Normalise, pad, encode, decode. Takes RGB in 0..1, of any height and width.

    Attributes:
        encoder: What a learning rate of its own applies to.
        decoder: The rest.
        spec: The arguments of `build_model` that rebuild this model without any weights file; JSON-able.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, parts: Parts, *, mean: Sequence[float], std: Sequence[float], spec: dict[str, Any]) -> None:
        """Join the parts; `mean` and `std` are per channel, of RGB in 0..1."""
        super().__init__()
        self.encoder = parts.encoder
        self.decoder = parts.decoder
        self.spec = spec
        self._multiple = parts.multiple
        self._memory_format = torch.channels_last if parts.channels_last else torch.contiguous_format
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1))

    def forward(self, image_B3HW: torch.Tensor) -> Output:
        """Logits of a batch.

        Args:
            image_B3HW: Float RGB in 0..1, not normalised.

        Returns:
            Output with logits at the head's own resolution; `full_resolution` takes them to H, W.

        Raises:
            ValueError: If the input is no batch of float RGB images.
        """
        if image_B3HW.ndim != 4 or image_B3HW.shape[1] != 3 or not image_B3HW.is_floating_point():
            raise ValueError(f"image must be float B3HW, came {image_B3HW.dtype} {tuple(image_B3HW.shape)}")
        height, width = image_B3HW.shape[-2:]
        below, right = -height % self._multiple, -width % self._multiple
        # Zeros after the normalisation: the padding has the mean colour.
        padded_B3HW = F.pad((image_B3HW - self.mean) / self.std, (0, right, 0, below))
        # Pinned, so that neither speed nor rounding depends on how the caller laid the image out.
        padded_B3HW = padded_B3HW.contiguous(memory_format=self._memory_format)
        return Output(self.decoder(self.encoder(padded_B3HW)), None, (height + below, width + right))


def build_model(
    architecture: str,
    *,
    encoder: str,
    classes: int,
    weights: str | Path | None = None,
    dropout: float = 0.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> SegmentationModel:
    """Build a segmentation model by name. Its initial weights come from torch's global generator.

    Args:
        architecture: A key of `ARCHITECTURES`.
        encoder: `squeezenet1_0` (fcn8 only), a name of segmentation_models_pytorch, or `tu-NAME` for timm's.
        classes: Number of classes, 2 to 255.
        weights: The encoder's initial weights: None = random, "imagenet" = those of the library the encoder comes
            from (it downloads them), else a `.safetensors` or torch file with the encoder's state dict.
        dropout: Only 0.0 now.
        mean: Per channel of RGB in 0..1; None = the encoder's own, ImageNet's where it has none.
        std: As `mean`.

    Returns:
        The model in training mode, on the CPU. Parameters that no output depends on (the stages below stride 16 in
        fcn8, say) do not require gradients, so that DDP does not wait for them.

    Raises:
        ValueError: If a name is unknown, a value out of range, or encoder and architecture do not go together.
        WeaksegError: If the weights cannot be had or do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(ARCHITECTURES)}")
    if not 2 <= classes <= VOID:
        raise ValueError(f"classes must be between 2 and {VOID} ({VOID} itself means void in a mask), came {classes}")
    if dropout != 0.0:
        raise ValueError(f"dropout must be 0.0: no architecture uses it yet, came {dropout}")
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and (len(values) != 3 or (name == "std" and min(values) <= 0)):
            raise ValueError(f"{name} must be 3 numbers, one per channel of RGB in 0..1 (std > 0), came {values}")
    check_encoder(encoder, imagenet=weights == "imagenet")
    parts = _parts(architecture, encoder, classes)
    if weights == "imagenet":
        load_encoder(parts.encoder, imagenet_state(encoder, depth=parts.depth), origin=f"ImageNet for {encoder}")
    elif weights is not None:
        load_encoder(parts.encoder, read_state(weights), origin=str(weights))
    own_mean, own_std = preprocessing(encoder, pretrained=weights == "imagenet")
    statistics = {"mean": own_mean if mean is None else mean, "std": own_std if std is None else std}
    numbers = {name: [float(value) for value in values] for name, values in statistics.items()}
    spec = {
        "architecture": architecture,
        "encoder": encoder,
        "classes": classes,
        "weights": None,
        "dropout": dropout,
        **numbers,
    }
    return SegmentationModel(parts, **numbers, spec=spec)


def load(spec: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> SegmentationModel:
    """Rebuild a saved model: `load(model.spec, model.state_dict())`. Draws nothing from the global generator.

    Args:
        spec: The model's `spec`, as saved.
        state_dict: All its weights and buffers.

    Raises:
        WeaksegError: If the spec has fields that this version does not know, or the weights do not fit it.
        ValueError: As `build_model`.
    """
    unknown = spec.keys() - {"architecture", "encoder", "classes", "weights", "dropout", "mean", "std"}
    if unknown:
        raise WeaksegError(f"model spec has fields that this version does not know: {', '.join(sorted(unknown))}")
    with torch.random.fork_rng(devices=[]):
        model = build_model(**spec)
    load_strict(model, state_dict, origin=f"a saved {spec['architecture']} on {spec['encoder']}")
    return model


def _parts(architecture: str, encoder: str, classes: int) -> Parts:
    try:
        parts = ARCHITECTURES[architecture](encoder, classes)
        _freeze_unused(parts)
    # What does not go together shows itself in the libraries' own ways, from KeyError to a failed assert.
    except Exception as error:
        raise ValueError(f"{architecture} cannot be built on encoder {encoder}: {error}") from error
    return parts


def _freeze_unused(parts: Parts) -> None:
    """Try the parts on a small image; parameters without a path to the logits stop asking for gradients."""
    modules = nn.ModuleList([parts.encoder, parts.decoder]).eval()
    parameters = list(modules.parameters())
    with torch.enable_grad():
        logits_BChw = parts.decoder(parts.encoder(torch.zeros(1, 3, 64, 64)))
        gradients = torch.autograd.grad(logits_BChw.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    modules.train()
