"""Section `labelling`: how many pixels are asked, which, and of whom."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.section import Section, Share, setting


class Seconds(Section):
    """What one label costs an annotator.

    Attributes:
        pixel: Seconds per labelled pixel (PixelPick's people took 1.42).
        region: Seconds per labelled superpixel: taken for one click as well.
        keypoint: Seconds per keypoint: taken for one click as well.
        proportions: Seconds for the class proportions of an image (SPSS: about 20).
        coarse: Seconds for an image's coarse polygons (Cityscapes' 1024x2048: less than 7 minutes; smaller ones take
            less).
        mask: Seconds per full mask (SPSS: about 330); also for the cost of the validation split.
    """

    pixel: float = setting(1.42, expected="a number of seconds from 0", ge=0)
    region: float = setting(1.42, expected="a number of seconds from 0", ge=0)
    keypoint: float = setting(1.42, expected="a number of seconds from 0", ge=0)
    proportions: float = setting(20.0, expected="a number of seconds from 0", ge=0)
    coarse: float = setting(420.0, expected="a number of seconds from 0", ge=0)
    mask: float = setting(330.0, expected="a number of seconds from 0", ge=0)


class Committee(Section):
    """Monte-Carlo dropout: several predictions of one model, which needs `model.dropout`.

    Attributes:
        passes: Members.
        vote: soft (their mean probability) or hard (the histogram of their classes).
    """

    passes: int = setting(20, expected="a whole number from 2", ge=2)
    vote: Literal["soft", "hard"] = setting("soft", expected="soft or hard")


class Browser(Section):
    """The page on which people answer. Nothing here changes what a run is: all of it may change between two starts.

    Attributes:
        serve: Whether the driver serves the page itself; false where `weakseg annotate` does, perhaps elsewhere.
        host: The address it listens at; another than this machine's own needs `annotators`.
        port: The port; 0 takes any free one.
        hosts: Further names by which browsers reach it, such as those of a proxy.
        annotators: Who answers, one link each; [] is one annotator, named as who is logged in.
        lease_minutes: How long an image stays an annotator's without a sign of life.
    """

    serve: bool = setting(True, expected="true or false")
    host: str = setting("127.0.0.1", expected="an address or host name", min_length=1)
    port: int = setting(8765, expected="a port from 0 to 65535", ge=0, le=65535)
    hosts: list[str] = setting([], expected="a list of host names")
    annotators: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]] = setting(
        [], expected="a list of names, each of letters, digits and . _ -, at most 40"
    )
    lease_minutes: float = setting(10.0, expected="minutes above 0", gt=0, le=1440)


class Labelling(Section):
    """The rounds of questions.

    Attributes:
        rounds: How many rounds in all; may grow on a finished run, which then goes on.
        pixels_per_image: Pixels asked per image and round; an answer "void" counts.
        acquisition: What makes a pixel worth asking: random, least_confidence, margin, entropy, best_versus_second_best
            or, of a committee, mutual_information; region asks whole superpixels, chosen over all images.
        top_fraction: Share of an image's free pixels, best first, from which the asked ones are drawn.
        image_fraction: Share of the images that are asked about at all, with as many more pixels each.
        one_per_segment: Ask at most one pixel of a superpixel, as long as there are others.
        committee: null, or how several predictions vote.
        annotator: Who answers: oracle reads the masks at the asked pixels only, browser asks people on a page.
        answered_share: The share of a round's questions that people must answer before the next training.
        repeat: Share of the questions that two people are asked, to see how far they agree.
        control: Questions whose answer the masks tell, asked beside the others, as a share of these.
        holdout: Where no image has a mask: the share of the training images that is kept out of training and selection,
            to estimate the accuracy on.
        holdout_points: Points asked per round on each of these images.
        browser: The page on which people answer.
        error_rate: Share of the oracle's answers that are wrong on purpose.
        seconds: What a label costs.
    """

    rounds: int = setting(10, expected="a whole number from 1", ge=1)
    pixels_per_image: int = setting(10, expected="a whole number from 1", ge=1)
    acquisition: Literal[
        "random",
        "least_confidence",
        "margin",
        "entropy",
        "best_versus_second_best",
        "mutual_information",
        "region",
    ] = setting("margin", expected="an acquisition function")
    top_fraction: float = setting(0.05, expected="a share above 0, at most 1", gt=0, le=1)
    image_fraction: float = setting(1.0, expected="a share above 0, at most 1", gt=0, le=1)
    one_per_segment: bool = setting(False, expected="true or false")
    committee: Committee | None = setting(None, expected="null or a section of fields")
    annotator: Literal["oracle", "browser"] = setting("oracle", expected="oracle or browser")
    answered_share: float = setting(1.0, expected="a share above 0, at most 1", gt=0, le=1)
    repeat: Share = setting(0.0, expected="a share from 0 to 1")
    control: Share = setting(0.0, expected="a share from 0 to 1")
    holdout: float = setting(0.2, expected="a share from 0, below 1", ge=0, lt=1)
    holdout_points: int = setting(5, expected="a whole number from 1", ge=1)
    browser: Browser = setting(Browser(), expected="a section of fields")
    error_rate: Share = setting(0.0, expected="a share from 0 to 1")
    seconds: Seconds = setting(Seconds(), expected="a section of fields")
