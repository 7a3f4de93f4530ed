"""Dropout after every convolution, as a committee of Monte-Carlo dropout wants it."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

_NAME = "dropout"
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def insert_dropout(module: nn.Module, p: float, *, without: Collection[nn.Module] = ()) -> None:
    """Let dropout follow every two-dimensional convolution of a module (PixelPick, arXiv 2104.06394, section 4.2).

    Each convolution gets a child `dropout` without parameters and a hook that calls it: no name of a state dict
    changes, so that weights saved with and without dropout fit each other. The hook is a function of this module:
    copies and pickles keep it.

    What a library computes by `torch.nn.functional.conv2d` itself, outside of any such module, is not reached: of the
    encoders at hand the fixed blur filters (`blur_pool`), `cond_conv2d`, the position part of halo attention and
    MobileViT v2's cross-attention.

    Args:
        module: Changed in place. The 1x1 convolutions of squeeze-and-excite blocks are convolutions too.
        p: The probability that a value is dropped.
        without: Convolutions that keep their output whole: the classifier, whose output is the answer.
    """
    for convolution in module.modules():
        if isinstance(convolution, _CONVOLUTIONS) and not any(convolution is other for other in without):
            convolution.add_module(_NAME, nn.Dropout(p))
            convolution.register_forward_hook(_drop)


def dropout_layers(module: nn.Module) -> Iterator[nn.Module]:
    """The dropout layers that do something in training mode: those inserted and an architecture's own."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            yield layer


def _drop(convolution: nn.Module, _: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
    dropped: torch.Tensor = convolution.get_submodule(_NAME)(output)
    return dropped
