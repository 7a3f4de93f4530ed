"""Section `loss`: the weights of the objective's terms."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.section import NonNegative, Section, setting


class Loss(Section):
    """Weights by term; a term counts only where its supervision is on.

    Attributes:
        point: Cross-entropy at labelled pixels.
        mask: Cross-entropy over full masks and coarse labels.
        proportion: Squared distance of predicted to known class proportions (SPSS); null is 1 where there are some.
        keypoint: Cross-entropy at keypoints (SPSS+); null is 1 where there are some.
        consistency: Squared distance of predictions to the mean of their superpixel.
        assignment: How well learned superpixels rebuild the image (L_SLIC); for model.upsampling superpixel.
        class_weights: null (all 1), balanced (by the inverse frequency of the labels so far, where an answer counts
            once, be it about a pixel or a region), or one weight per class.
    """

    point: float = setting(1.0, expected="a number from 0", ge=0)
    mask: float = setting(1.0, expected="a number from 0", ge=0)
    proportion: float | None = setting(None, expected="null or a number from 0", ge=0)
    keypoint: float | None = setting(None, expected="null or a number from 0", ge=0)
    consistency: float = setting(0.0, expected="a number from 0", ge=0)
    assignment: float = setting(0.0, expected="a number from 0", ge=0)
    class_weights: Literal["balanced"] | Annotated[list[NonNegative], Field(min_length=1)] | None = setting(
        None, expected="null, balanced or a list with one number from 0 per class"
    )
