"""Section `tracking`: where MLflow keeps the runs."""

from pipelines.config.section import Section, setting


class Tracking(Section):
    """MLflow.

    Attributes:
        uri: The tracking server; null is MLFLOW_TRACKING_URI, else a database under storage.root.
        experiment: The experiment's name.
    """

    uri: str | None = setting(None, expected="null or the address of a tracking server", min_length=1)
    experiment: str = setting("weakseg", expected="a name", min_length=1)
