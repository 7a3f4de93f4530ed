"""Section `model`: architecture, encoder and initial weights."""

from typing import Literal

from pipelines.config.section import Positive, Section, Share, setting


class Model(Section):
    """The network.

    Attributes:
        architecture: deeplabv3plus, fpn, unet (any encoder of segmentation_models_pytorch), or the light fcn8.
        encoder: The encoder's name there, such as mobilenet_v2 or resnet50; fcn8 also takes squeezenet1_0.
        weights: null (random), imagenet (downloaded), or a file with a state dict.
        mean: Mean colour of the images, RGB in 0..1; null is ImageNet's.
        std: Standard deviation of the colours, RGB in 0..1; null is ImageNet's.
    """

    architecture: Literal["deeplabv3plus", "fpn", "unet", "fcn8"] = setting("deeplabv3plus", expected="an architecture")
    encoder: str = setting("mobilenet_v2", expected="the name of an encoder", min_length=1)
    weights: str | None = setting(None, expected="null, imagenet or a file", min_length=1)
    mean: tuple[Share, Share, Share] | None = setting(None, expected="null or three numbers from 0 to 1")
    std: tuple[Positive, Positive, Positive] | None = setting(None, expected="null or three numbers above 0")
