"""From names to a model that can be saved, rebuilt and trained under DDP."""

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from weakseg.errors import WeaksegError
from weakseg.models.dropout import insert_dropout
from weakseg.models.encoders import check_encoder, feature_strides, imagenet_state, listed, preprocessing
from weakseg.models.fcn import fcn8
from weakseg.models.fcn16 import fcn16
from weakseg.models.fpn_dilated import fpn_dilated
from weakseg.models.output import Output
from weakseg.models.parts import Parts
from weakseg.models.smp import ATROUS_RATES, FORMER_RATES, deeplabv3plus, fpn, unet
from weakseg.models.unet_spss import FILTERS, four_filters, unet_spss
from weakseg.models.weights import load_encoder, load_strict, read_state
from weakseg.schema import VOID

ARCHITECTURES: dict[str, Callable[..., Parts]] = {
    "deeplabv3plus": deeplabv3plus,
    "fpn": fpn,
    "fpn_dilated": fpn_dilated,
    "unet": unet,
    "unet_spss": unet_spss,
    "fcn8": fcn8,
    "fcn16": fcn16,
}
_UPSAMPLINGS = ("bilinear", "superpixel")


class SegmentationModel(nn.Module):
    """Normalise, pad, encode, decode. Takes RGB in 0..1, of any size; some encoders want 32 pixels a side at least.

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
        # Not the format itself: torch.save cannot write it.
        self._channels_last = parts.channels_last
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1))

    def forward(self, image_B3HW: torch.Tensor) -> Output:
        """Logits of a batch.

        Args:
            image_B3HW: Float RGB in 0..1, not normalised.

        Returns:
            Output with logits at the head's own resolution, and assignments if the model was built with superpixel
            upsampling; `full_resolution` takes them to H, W.

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
        memory_format = torch.channels_last if self._channels_last else torch.contiguous_format
        padded_B3HW = padded_B3HW.contiguous(memory_format=memory_format)
        answer = self.decoder(self.encoder(padded_B3HW))
        logits_BChw, assignments = answer if isinstance(answer, tuple) else (answer, None)
        return Output(logits_BChw, assignments, (height + below, width + right))


def build_model(
    architecture: str,
    *,
    encoder: str | None,
    classes: int,
    weights: str | Path | None = None,
    dropout: float = 0.0,
    upsampling: str = "bilinear",
    filters: int | Sequence[int] | None = None,
    atrous_rates: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> SegmentationModel:
    """Build a segmentation model by name. Its initial weights come from torch's global generator.

    Args:
        architecture: A key of `ARCHITECTURES`.
        encoder: `squeezenet1_0` (fcn8 and fcn16 only), a name of segmentation_models_pytorch, or `tu-NAME` for
            timm's; None or "none" for unet_spss, which has its own, and for no other.
        classes: Number of classes, at most 255; 1 = one logit z of the foreground, for a sigmoid: the softmax over
            (0, z).
        weights: The encoder's initial weights: None = random, "imagenet" = those of the library the encoder comes
            from (it downloads them), else a `.safetensors` or torch file with the encoder's state dict.
        dropout: Probability of the dropout after every convolution of encoder and decoder, but neither after the
            classifier nor after projections of superpixel upsampling; 0 = none. What an architecture has of its own in
            its head (deeplabv3plus 0.5, fpn and fpn_dilated 0.2, fcn16 0.1) stays whatever this is.
        upsampling: "bilinear" from the head's logits on, or, for fcn16, "superpixel": by learned assignments from
            stride 16 to 4, from there bilinear.
        filters: For unet_spss only: its first block's, doubled from block to block, or all four; None = 16.
        atrous_rates: For deeplabv3plus only: the dilations of its three atrous convolutions; None = 6, 12, 18.
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
    encoder = None if encoder == "none" else encoder
    if architecture == "unet_spss":
        if encoder is not None:
            raise ValueError(f"unet_spss has an encoder of its own: encoder must be null, came {encoder!r}")
        filters = four_filters(FILTERS if filters is None else filters)
    elif filters is not None:
        raise ValueError(f"filters must be null: {architecture} has those of its encoder, came {filters}")
    if architecture == "deeplabv3plus":
        atrous_rates = [int(rate) for rate in atrous_rates or ATROUS_RATES]
        if len(atrous_rates) != 3 or min(atrous_rates) < 1:
            raise ValueError(f"atrous_rates must be 3 whole numbers above 0, came {atrous_rates}")
    elif atrous_rates is not None:
        raise ValueError(f"atrous_rates must be null: {architecture} has no atrous convolutions, came {atrous_rates}")
    # NumPy's numbers, such as mask.max() + 1, are none in JSON.
    classes, dropout = operator.index(classes), float(dropout)
    if not 1 <= classes <= VOID:
        raise ValueError(f"classes must be between 1 and {VOID} ({VOID} itself means void in a mask), came {classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a probability from 0 to below 1, came {dropout}")
    if upsampling not in _UPSAMPLINGS:
        raise ValueError(f"unknown upsampling {upsampling!r}; known: {', '.join(_UPSAMPLINGS)}")
    if mean is not None and (len(mean) != 3 or not all(0 <= value <= 1 for value in mean)):
        raise ValueError(f"mean must be 3 numbers from 0 to 1, of RGB in 0..1, came {list(mean)}")
    if std is not None and (len(std) != 3 or not all(0 < value < math.inf for value in std)):
        raise ValueError(f"std must be 3 numbers above 0, of RGB in 0..1, came {list(std)}")
    imagenet = weights == "imagenet"
    if encoder is not None:
        check_encoder(encoder, imagenet=imagenet)
    elif architecture != "unet_spss":
        raise ValueError(f"{architecture} needs an encoder, such as resnet34, came none")
    elif imagenet:
        raise ValueError("unet_spss has no ImageNet weights: name a weights file or none")
    options = {"filters": filters, "atrous_rates": atrous_rates}
    parts = _parts(architecture, encoder, classes, upsampling=upsampling, options=options)
    if encoder is not None and imagenet:
        load_encoder(parts.encoder, imagenet_state(encoder, depth=parts.depth), origin=f"ImageNet for {encoder}")
    elif weights is not None:
        load_encoder(parts.encoder, read_state(weights), origin=str(weights))
    if dropout > 0:
        insert_dropout(parts.encoder, dropout, without=parts.undropped)
        insert_dropout(parts.decoder, dropout, without=parts.undropped)
    own_mean, own_std = preprocessing(encoder, pretrained=imagenet)
    statistics = {"mean": own_mean if mean is None else mean, "std": own_std if std is None else std}
    numbers = {name: [float(value) for value in values] for name, values in statistics.items()}
    spec = {
        "architecture": architecture,
        "encoder": encoder,
        "classes": classes,
        "weights": None,
        "dropout": dropout,
        "upsampling": upsampling,
        "filters": filters,
        "atrous_rates": atrous_rates,
        **numbers,
    }
    return SegmentationModel(parts, **numbers, spec=spec)


def load(spec: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> SegmentationModel:
    """Rebuild a saved model: `load(model.spec, model.state_dict())`. Draws nothing from the global generator.

    Args:
        spec: The model's `spec`, as saved; fields that came later may be missing.
        state_dict: All its weights and buffers.

    Raises:
        WeaksegError: If the spec has fields that this version does not know, or the weights do not fit it.
        ValueError: As `build_model`.
    """
    unknown = spec.keys() - inspect.signature(build_model).parameters.keys()
    if unknown:
        raise WeaksegError(f"model spec has fields that this version does not know: {', '.join(sorted(unknown))}")
    former = {"atrous_rates": FORMER_RATES} if spec["architecture"] == "deeplabv3plus" else {}
    with torch.random.fork_rng(devices=[]):
        model = build_model(**{**former, **spec})
    load_strict(model, state_dict, origin=f"a saved {_named(spec['architecture'], spec['encoder'])}")
    return model


def _parts(
    architecture: str, encoder: str | None, classes: int, *, upsampling: str, options: Mapping[str, Any]
) -> Parts:
    options = {name: value for name, value in options.items() if value is not None}
    if architecture == "fcn16":
        options["superpixels"] = upsampling == "superpixel"
    try:
        parts = ARCHITECTURES[architecture](encoder, classes, **options)
        stride = _freeze_unused(parts)
    # What does not go together shows itself in the libraries' own ways, from KeyError to a failed assert.
    except Exception as error:
        raise ValueError(f"{architecture} cannot be built on encoder {encoder}: {error}") from error
    if upsampling == "superpixel" and architecture != "fcn16":
        raise ValueError(
            "superpixel upsampling needs logits at stride 16 and features at strides 4, 8 and 16: "
            f"{_named(architecture, encoder)} has logits at stride {listed([stride])} and features at strides "
            f"{listed(feature_strides(parts.encoder))}; take fcn16, or upsampling bilinear"
        )
    return parts


def _named(architecture: str, encoder: str | None) -> str:
    return architecture if encoder is None else f"{architecture} on {encoder}"


def _freeze_unused(parts: Parts) -> float:
    """Try the parts on a small image; parameters without a path to the answer stop asking for gradients.

    Returns:
        The stride of the logits.
    """
    modules = nn.ModuleList([parts.encoder, parts.decoder]).eval()
    parameters = list(modules.parameters())
    with torch.enable_grad():
        answer = parts.decoder(parts.encoder(torch.zeros(1, 3, 64, 64)))
        logits_BChw, assignments = answer if isinstance(answer, tuple) else (answer, ())
        total = sum((A_B9HW.sum() for A_B9HW in assignments), start=logits_BChw.sum())
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    modules.train()
    return 64 / float(logits_BChw.shape[-2])
