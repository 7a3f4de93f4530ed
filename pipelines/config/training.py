"""Section `training`: the optimiser, its schedule and the augmentation of one round."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.section import SIZE, NonNegative, Positive, Section, Share, Size, setting


class Schedule(Section):
    """How the learning rate falls.

    Attributes:
        name: constant; multistep (times gamma at each milestone); poly ((1 - progress) ** power, step by step).
        milestones: Epochs after which multistep takes its step.
        gamma: The factor of a multistep step.
        power: The power of poly.
    """

    name: Literal["constant", "multistep", "poly"] = setting("constant", expected="a schedule")
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = setting((), expected="a list of rising whole numbers from 1")
    gamma: float = setting(0.1, expected="a number above 0, at most 1", gt=0, le=1)
    power: float = setting(0.9, expected="a number above 0", gt=0)


class Augmentation(Section):
    """PixelPick's augmentation; every part can be switched off.

    Attributes:
        scale: Factors between which the image's size is drawn; [1, 1] is off.
        crop: [height, width] of the window that is cut out, padded where needed; null is the size of the images.
        flip: Probability of a horizontal flip.
        jitter: Strength of the jitter of brightness, contrast, saturation and hue.
        jitter_probability: Probability of the colour jitter.
        grey: Probability of turning grey.
        blur: Probability of a Gaussian blur.
        blur_kernel: The blur's kernel as a share of the short side.
        blur_sigma: Pixels between which the blur's sigma is drawn.
    """

    scale: tuple[Positive, Positive] = setting((0.5, 2.0), expected="[least, most], two numbers above 0")
    crop: Size | None = setting(None, expected=f"null or {SIZE}")
    flip: Share = setting(0.5, expected="a probability from 0 to 1")
    jitter: tuple[NonNegative, NonNegative, NonNegative, Annotated[float, Field(ge=0, le=0.5)]] = setting(
        (0.8, 0.8, 0.8, 0.2), expected="four numbers from 0: brightness, contrast, saturation, hue (at most 0.5)"
    )
    jitter_probability: Share = setting(0.8, expected="a probability from 0 to 1")
    grey: Share = setting(0.2, expected="a probability from 0 to 1")
    blur: Share = setting(0.5, expected="a probability from 0 to 1")
    blur_kernel: Share = setting(0.1, expected="a share of the short side from 0 to 1")
    blur_sigma: tuple[Positive, Positive] = setting((0.1, 2.0), expected="[least, most], two numbers above 0")

    def may_crop(self, shape: Size | None) -> bool:
        """Whether it may cut something off images of a size; None = of sizes that are not known."""
        if self.crop is None:
            return self.scale[1] > 1
        if shape is None:
            return True
        return any(round(side * self.scale[1]) > window for side, window in zip(shape, self.crop, strict=True))


class EarlyStopping(Section):
    """End before the last epoch, and keep the weights of the best one.

    Attributes:
        patience: Epochs without a lower loss on the validation images.
    """

    patience: int = setting(10, expected="a whole number from 1", ge=1)


class Training(Section):
    """One round's training. The model starts anew each round unless warm_start is on.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step over all workers together: with any number of them each step has the same images.
        optimizer: adam or sgd.
        lr: Learning rate of all but the encoder.
        encoder_lr: Learning rate of the encoder; null is lr.
        weight_decay: L2 weight decay.
        eps: Adam's epsilon.
        momentum: SGD's momentum.
        schedule: How the learning rates fall.
        augmentation: What happens to an image before the network sees it; null is nothing.
        early_stopping: null, or when to end before the last epoch.
        precision: fp32; bf16 or fp16 are autocast on a GPU.
        warm_start: Start a round from the last round's weights.
    """

    epochs: int = setting(50, expected="a whole number from 1", ge=1)
    batch_size: int = setting(4, expected="a whole number from 1", ge=1)
    optimizer: Literal["adam", "sgd"] = setting("adam", expected="an optimiser")
    lr: float = setting(5e-4, expected="a number above 0", gt=0)
    encoder_lr: float | None = setting(None, expected="null or a number above 0", gt=0)
    weight_decay: float = setting(2e-4, expected="a number from 0", ge=0)
    eps: float = setting(1e-8, expected="a number above 0", gt=0)
    momentum: float = setting(0.9, expected="a number from 0, below 1", ge=0, lt=1)
    schedule: Schedule = setting(Schedule(), expected="a section of fields")
    augmentation: Augmentation | None = setting(Augmentation(), expected="null or a section of fields")
    early_stopping: EarlyStopping | None = setting(None, expected="null or a section of fields")
    precision: Literal["fp32", "bf16", "fp16"] = setting("fp32", expected="a precision")
    warm_start: bool = setting(False, expected="true or false")
