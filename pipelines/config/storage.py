"""Section `storage`: where pools, runs and the tracking database lie."""

from pipelines.config.section import Section, setting


class Storage(Section):
    """Where everything is kept.

    Attributes:
        root: A folder; `~` and environment variables are filled in.
    """

    root: str = setting("./weakseg-data", expected="a folder", min_length=1)
