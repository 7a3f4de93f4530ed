"""Section `supervision`: what the model may learn from."""

from pipelines.config.section import Section, setting


class Supervision(Section):
    """The kinds of labels that training reads.

    Attributes:
        points: Single labelled pixels, asked for in rounds.
        masks: The full masks of the training split: the baseline that points are compared with.
    """

    points: bool = setting(True, expected="true or false")
    masks: bool = setting(False, expected="true or false")
