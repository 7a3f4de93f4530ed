"""Ending in order: SIGTERM (a stopped job) and SIGINT (Ctrl-C) become one exception in the main thread.

Ray sets handlers of its own: `ray.init` one for SIGTERM, a trainer or tuner in the main thread one for SIGINT after
which the process ends with code 0, as if it were done. So `ray.init` is called in :func:`kept`, and what else may set
handlers, or blocks for long, in :func:`beside`.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

HANDLED = (signal.SIGTERM, signal.SIGINT)

GRACE = 5.0
"""Seconds for Ray to let go at the end; a stopped job is killed 3 s after the signal in any case."""

_T = TypeVar("_T")


class Stopped(KeyboardInterrupt):
    """The user, or the cluster, wants the process to end.

    A KeyboardInterrupt, because while Ray waits it lets no other exception of a handler through.

    Attributes:
        signal: What came.
        code: What the process exits with: 143 for SIGTERM, 130 for SIGINT.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)
        self.code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block lasts, the first signal raises :class:`Stopped` in it and a second one ends the process at once.

    In another thread than the main one nothing is changed: only that one may set handlers.

    Raises:
        Stopped: A signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        raise Stopped(number)

    before = {number: signal.signal(number, handler) for number in HANDLED}
    try:
        yield
    except KeyboardInterrupt:
        # Ray hands on a KeyboardInterrupt that does not say which signal it was.
        raise Stopped(received[0] if received else signal.SIGINT) from None
    finally:
        if not received:  # else the handler stays, for a second signal while the process ends
            for number, old in before.items():
                signal.signal(number, old)


@contextmanager
def kept() -> Iterator[None]:
    """Put back the handlers that the block replaces.

    Raises:
        Stopped: SIGTERM came while Ray's own handler stood, which raises SystemExit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:
            raise Stopped(signal.SIGTERM) from None
        raise
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def beside(call: Callable[[], _T]) -> _T:
    """Carry out a call in a thread of its own while the main thread waits, which a signal interrupts at once.

    In any other thread it is just called.

    Args:
        call: What to do; after a signal it is left to itself, and ends with the process.

    Returns:
        What the call returns.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    future: Future[_T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="beside", daemon=True).start()
    return future.result()


def at_most(seconds: float, call: Callable[[], object]) -> bool:
    """Try something for a limited time, on the way out: what is not done by then is left undone.

    Args:
        seconds: How long to wait for it.
        call: What to do; its errors count as not done.

    Returns:
        Whether it was done.
    """
    done = threading.Event()

    def work() -> None:
        try:
            call()
        except Exception:
            return
        done.set()

    thread = threading.Thread(target=work, name="at most", daemon=True)
    thread.start()
    thread.join(seconds)
    return done.is_set()


def leave(code: int) -> NoReturn:
    """End the process now: what waits beside (:func:`beside`) would hold up the usual end.

    Args:
        code: What the process exits with.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if "ray" in sys.modules:
        at_most(GRACE, sys.modules["ray"].shutdown)  # a Ray that was started here ends with the driver
    os._exit(code)
