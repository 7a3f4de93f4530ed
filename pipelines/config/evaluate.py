"""Section `evaluate`: how predictions are judged."""

from pipelines.config.section import Section, setting


class Evaluate(Section):
    """What is measured beside mIoU.

    Attributes:
        boundary_radius: Pixels within which two boundaries match; null is the metric's own rule.
        test: Read the test split, once, after the last round.
    """

    boundary_radius: int | None = setting(None, expected="null or a whole number from 0", ge=0)
    test: bool = setting(True, expected="true or false")
