"""Section `superpixels`: SLIC segments, made once per image when the pool is prepared."""

from pipelines.config.section import Section, setting


class Superpixels(Section):
    """SLIC's settings.

    Attributes:
        segments: About how many segments per image; 0 makes none.
        compactness: Weight of nearness in space against nearness in colour; noisy images want more than 10, or they
            come in a few large segments.
    """

    segments: int = setting(500, expected="a whole number from 0 to 65535", ge=0, le=65_535)
    compactness: float = setting(10.0, expected="a number above 0", gt=0)
