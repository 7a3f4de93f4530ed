"""What a user can get wrong, as exceptions. Their text is shown as it is, without a traceback."""

from collections.abc import Sequence


class WeaksegError(Exception):
    """Something the user can put right: says what was expected, what came and what to do."""


class ConfigError(WeaksegError):
    """A configuration with faults, all of them at once.

    Args:
        faults: One line per fault, each naming its field.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        """Keep the faults and join them into the message."""
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[str, ...]]]:
        """Survive pickling, as exceptions from workers must."""
        return type(self), (self.faults,)


class DataError(WeaksegError):
    """A data set that cannot be used as it is: nothing is prepared until it is put right."""


class ImageError(DataError):
    """One image that cannot be used: it is quarantined by name and the run goes on."""


class LedgerError(WeaksegError):
    """A run that cannot go on: owned by another driver, or started with another identity."""


class DivergedError(WeaksegError):
    """A training whose loss became infinite or NaN: the same settings lead there again."""


class ResourceError(WeaksegError):
    """A plan that the cluster, the storage or the tracking server cannot carry out."""
