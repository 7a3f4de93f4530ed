"""Section `labelling`: how many pixels are asked, which, and of whom."""

from typing import Literal

from pipelines.config.section import Section, Share, setting


class Seconds(Section):
    """What one label costs an annotator.

    Attributes:
        pixel: Seconds per labelled pixel (PixelPick's people took 1.42).
        mask: Seconds per full mask, for the cost of the validation split.
    """

    pixel: float = setting(1.42, expected="a number of seconds from 0", ge=0)
    mask: float = setting(330.0, expected="a number of seconds from 0", ge=0)


class Labelling(Section):
    """The rounds of questions.

    Attributes:
        rounds: How many rounds in all; may grow on a finished run, which then goes on.
        pixels_per_image: Pixels asked per image and round; an answer "void" counts.
        acquisition: What makes a pixel worth asking: random, least_confidence, margin or entropy.
        top_fraction: Share of an image's free pixels, best first, from which the asked ones are drawn.
        annotator: Who answers; oracle reads the masks at the asked pixels only.
        error_rate: Share of the oracle's answers that are wrong on purpose.
        seconds: What a label costs.
    """

    rounds: int = setting(10, expected="a whole number from 1", ge=1)
    pixels_per_image: int = setting(10, expected="a whole number from 1", ge=1)
    acquisition: Literal["random", "least_confidence", "margin", "entropy"] = setting(
        "margin", expected="an acquisition function"
    )
    top_fraction: float = setting(0.05, expected="a share above 0, at most 1", gt=0, le=1)
    annotator: Literal["oracle"] = setting("oracle", expected="an annotator")
    error_rate: Share = setting(0.0, expected="a share from 0 to 1")
    seconds: Seconds = setting(Seconds(), expected="a section of fields")
