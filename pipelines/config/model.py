"""Section `model`: architecture, encoder and initial weights."""

from typing import Literal

from pipelines.config.section import Positive, Section, Share, setting


class Model(Section):
    """The network.

    Attributes:
        architecture: deeplabv3plus, fpn, unet (any encoder of segmentation_models_pytorch), fpn_dilated (ResNets at
            stride 8), the light fcn8 and fcn16, or unet_spss, which has no encoder to choose.
        encoder: The encoder's name there, such as mobilenet_v2 or resnet50; fcn8 and fcn16 also take squeezenet1_0;
            null for unet_spss.
        weights: null (random), imagenet (downloaded), or a file with a state dict.
        mean: Mean colour of the images, RGB in 0..1; null is that of the weights imagenet, and of others ImageNet's.
        dropout: Probability of dropout after every convolution; a committee needs it above 0.
        upsampling: bilinear, or superpixel (learned; fcn16 only).
        filters: Filters of the first block of unet_spss; null is its own.
        classes: null (one channel per class) or 1 (one channel and a sigmoid, for data of two classes).
        std: Standard deviation of the colours, RGB in 0..1; null as for mean.
    """

    architecture: Literal["deeplabv3plus", "fpn", "fpn_dilated", "unet", "fcn8", "fcn16", "unet_spss"] = setting(
        "deeplabv3plus", expected="an architecture"
    )
    encoder: str | None = setting("mobilenet_v2", expected="null or the name of an encoder", min_length=1)
    weights: str | None = setting(None, expected="null, imagenet or a file", min_length=1)
    dropout: float = setting(0.0, expected="a probability from 0, below 1", ge=0, lt=1)
    upsampling: Literal["bilinear", "superpixel"] = setting("bilinear", expected="bilinear or superpixel")
    filters: int | None = setting(None, expected="null or a whole number from 1", ge=1)
    classes: Literal[1] | None = setting(None, expected="null or 1")
    mean: tuple[Share, Share, Share] | None = setting(None, expected="null or three numbers from 0 to 1")
    std: tuple[Positive, Positive, Positive] | None = setting(None, expected="null or three numbers above 0")
