"""The plain U-Net of the proportion paper, with an encoder of its own."""

import operator
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from weakseg.models.parts import Parts

FILTERS = 16
_BLOCKS = 4


class ContractingPath(nn.Module):
    """Blocks of two 3x3 convolutions with ReLU, each followed by a 2x2 max-pool."""

    def __init__(self, filters: Sequence[int]) -> None:
        """Make a block for each number of filters."""
        super().__init__()
        self.out_channels = (*filters, filters[-1])
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
            )
            for before, after in zip((3, *filters), filters, strict=False)
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, image_B3HW: torch.Tensor) -> list[torch.Tensor]:
        """Every block's features before its pool (strides 1, 2, 4, 8), and the last after it (stride 16)."""
        features, values = [], image_B3HW
        for block in self.blocks:
            features.append(block(values))
            values = self.pool(features[-1])
        return [*features, values]


class ExpandingPath(nn.Module):
    """Blocks of two 3x3 transposed convolutions with ReLU; the first of each doubles the map, then comes the skip."""

    def __init__(self, filters: Sequence[int], classes: int) -> None:
        """Mirror a contracting path of the same filters."""
        super().__init__()
        outward = list(filters)[::-1]
        self.doubling = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
            for before, after in zip((outward[0], *outward), outward, strict=False)
        )
        self.merging = nn.ModuleList(nn.ConvTranspose2d(2 * count, count, 3, padding=1) for count in outward)
        self.relu = nn.ReLU()
        self.classifier = nn.Conv2d(outward[-1], classes, 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Logits_BCHW at stride 1."""
        *skips, values = features
        for doubling, merging, skip in zip(self.doubling, self.merging, reversed(skips), strict=True):
            values = torch.cat([self.relu(doubling(values)), skip], dim=1)
            values = self.relu(merging(values))
        logits_BCHW: torch.Tensor = self.classifier(values)
        return logits_BCHW


def unet_spss(encoder: None, classes: int, *, filters: int | Sequence[int] = FILTERS) -> Parts:
    """SPSS's U-Net (arXiv 2305.15608, version 1): 4 contracting and 4 expanding blocks, 4 concatenations, conv 1x1.

    The paper gives neither the numbers of filters nor the place of the concatenations nor the initial weights. Here
    the filters double from 16 on, a skip joins between the two transposed convolutions of its block, and weights are
    drawn as He et al. (arXiv 1502.01852) do for ReLU: under torch's default, made for no such depth without
    normalisation, hardly anything of the image would arrive at the logits.

    Args:
        encoder: None: the contracting path is the encoder.
        classes: Channels of the logits.
        filters: Those of the first block, doubled from block to block, or all four.

    Raises:
        ValueError: If filters are neither one number above 0 nor four.
    """
    counts = four_filters(filters)
    parts = Parts(ContractingPath(counts), ExpandingPath(counts, classes), multiple=2**_BLOCKS, depth=_BLOCKS)
    for module in nn.ModuleList(parts[:2]).modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            _initialise(module)
    return parts._replace(undropped=(parts.decoder.get_submodule("classifier"),))


def four_filters(filters: int | Sequence[int]) -> list[int]:
    """The filters of all four blocks.

    Raises:
        ValueError: If they are neither one number above 0 nor four.
    """
    if isinstance(filters, Sequence | np.ndarray):
        counts = [operator.index(count) for count in filters]
    else:
        counts = [operator.index(filters) << block for block in range(_BLOCKS)]
    if len(counts) != _BLOCKS or min(counts) < 1:
        raise ValueError(f"filters must be one number above 0 or {_BLOCKS} of them, came {filters}")
    return counts


def _initialise(convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Variance 2 / (number of inputs that an output sums over), bias 0."""
    taps: float = convolution.kernel_size[0] * convolution.kernel_size[1]
    if isinstance(convolution, nn.ConvTranspose2d):
        taps /= convolution.stride[0] * convolution.stride[1]
    nn.init.normal_(convolution.weight, std=(2 / (convolution.in_channels * taps)) ** 0.5)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
