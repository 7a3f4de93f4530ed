"""Which errors are the user's to put right, however deep Ray has wrapped them."""

from weakseg.errors import WeaksegError


def users_fault(error: BaseException) -> WeaksegError | None:
    """The fault of the user's that an error is or was caused by.

    Ray hands an error of a worker on inside its own: as a subclass of both whose text is a traceback, with the
    original in `cause`, or for training by rank in `worker_failures`.

    Args:
        error: What a verb raised.

    Returns:
        The original error, None if it is nothing that the user can put right.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        cause = getattr(current, "cause", None)
        wrapped = [cause] if isinstance(cause, BaseException) else []
        if isinstance(current, WeaksegError) and not wrapped:
            return current
        failures = getattr(current, "worker_failures", None) or {}
        pending += [*wrapped, *failures.values(), current.__cause__]
    return None
