"""Section `storage`: where pools, runs and the tracking database lie."""

from pipelines.config.section import Section, setting


class Storage(Section):
    """Where everything is kept.

    Attributes:
        root: A folder or s3://bucket/prefix; `~` and environment variables are filled in.
    """

    root: str = setting("./weakseg-data", expected="a folder or s3://bucket/prefix", min_length=1)
