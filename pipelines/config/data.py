"""Section `data`: the images, how they are cut and how they are split."""

from typing import Literal

from pipelines.config.section import SIZE, Section, Share, Size, setting


class Splits(Section):
    """Shares of the groups (scenes, patients, tiles) that are kept out of training; a share left out is 0.

    Attributes:
        val: Share for validation, where choices are made.
        test: Share for the test, read once at the end.
    """

    val: Share = setting(0.0, expected="a share from 0 to 1")
    test: Share = setting(0.0, expected="a share from 0 to 1")


class Data(Section):
    """Which images, of what size.

    Attributes:
        layout: The folder structure: a published data set's (camvid, aerial_dubai, cityscapes, voc, voc_aug, suim,
            pannuke, epfl_em), folder (your own), or scenes (generated, no folder).
        path: The data folder, or s3://bucket/prefix; `~` and environment variables are filled in. Not for scenes.
        size: Resize every image to [height, width]; null leaves them as they are.
        tile: Cut every image into windows of [height, width] without overlap; null leaves them whole.
        splits: Shares for validation and test, for layouts that have no splits of their own; null is the layout's rule.
        images: How many scenes to generate, all splits together. For scenes only.
        seed: Of generated scenes and of drawn splits; null is the run's. With one of its own the same images serve
            runs of several seeds.
    """

    layout: Literal[
        "camvid",
        "aerial_dubai",
        "cityscapes",
        "voc",
        "voc_aug",
        "suim",
        "pannuke",
        "epfl_em",
        "folder",
        "scenes",
    ] = setting(expected="a layout")
    path: str | None = setting(None, expected="a folder", min_length=1)
    size: Size | None = setting(None, expected=f"null or {SIZE}")
    tile: Size | None = setting(None, expected=f"null or {SIZE}")
    splits: Splits | None = setting(None, expected="null or the shares {val: 0.15, test: 0.15}")
    images: int | None = setting(None, expected="null or a whole number from 3", ge=3)
    seed: int | None = setting(None, expected="null or a whole number from 0", ge=0, lt=2**63)
