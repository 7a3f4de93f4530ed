"""Section `stop`: when to stop before the last round."""

from pipelines.config.section import Section, setting


class Stop(Section):
    """Reasons to stop early; the first that holds after the last finished round ends the run.

    Attributes:
        delta: By how much (0.01 = one point) validation mIoU must rise to count as a gain.
        patience: Rounds without a gain after which to stop; null never stops for this.
        budget: Labels in all, void answers too, after which nothing more is asked; null has no bound.
    """

    delta: float = setting(0.0, expected="a number from 0 to 1", ge=0, le=1)
    patience: int | None = setting(None, expected="null or a whole number from 1", ge=1)
    budget: int | None = setting(None, expected="null or a whole number from 1", ge=1)
