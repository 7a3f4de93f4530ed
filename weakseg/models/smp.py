"""Architectures of segmentation_models_pytorch, up to their heads and without their last upsampling.

Logits stay at the head's own resolution: `full_resolution` upsamples them, and losses at points need not.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from weakseg.models.encoders import SQUEEZENET
from weakseg.models.parts import Parts

ATROUS_RATES = (6, 12, 18)
"""Of DeepLabv3+ on features at stride 16 (Chen et al., arXiv 1802.02611, section 4)."""

FORMER_RATES = (12, 24, 36)
"""The library's default, meant for stride 8, which models had whose spec does not tell."""


def deeplabv3plus(encoder: str, classes: int, *, atrous_rates: Sequence[int] = ATROUS_RATES) -> Parts:
    """DeepLabv3+ (Chen et al., arXiv 1802.02611) with the encoder dilated to stride 16; logits at stride 4."""
    dilated: dict[str, Any] = {"encoder_output_stride": 16, "decoder_atrous_rates": tuple(atrous_rates)}
    return _parts("DeepLabV3Plus", encoder, multiple=16, classes=classes, upsampling=1, **dilated)


def fpn(encoder: str, classes: int) -> Parts:
    """Feature pyramid network (Kirillov et al., Panoptic FPN, arXiv 1901.02446); logits at stride 4."""
    return _parts("FPN", encoder, multiple=32, classes=classes, upsampling=1)


def unet(encoder: str, classes: int) -> Parts:
    """U-Net (Ronneberger et al., arXiv 1505.04597) on a given encoder; logits at stride 1."""
    return _parts("Unet", encoder, multiple=32, classes=classes)


def _parts(architecture: str, encoder: str, *, multiple: int, **options: Any) -> Parts:
    if encoder == SQUEEZENET:
        raise ValueError(f"encoder {SQUEEZENET} works with fcn8 and fcn16 only: its features end at stride 16")
    import segmentation_models_pytorch as smp

    model = getattr(smp, architecture)(encoder_name=encoder, encoder_weights=None, **options)
    decoder = nn.Sequential(model.decoder, model.segmentation_head)
    return Parts(model.encoder, decoder, multiple=multiple, depth=5, undropped=(model.segmentation_head[0],))
