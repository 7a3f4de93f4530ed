"""How trials reach MLflow: they tell the sweep's driver, which alone writes.

A trial's own process may sit on any node. With a relay it needs neither the tracking server's address nor its
credentials, and a database in a file has one writer.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from pipelines.credentials import hidden, worker_env
from pipelines.resources import driver_share
from pipelines.tracking import Tracker

METHODS = ("run", "log_metrics", "log_epochs", "log_bytes", "log_pool", "finish", "end")
"""Of a Tracker, what a trial may ask for."""


class _Mailbox:
    """An actor between trials, which call, and the driver, which answers."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._count = 0

    async def call(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Hand a call to the driver and wait for its answer: (whether it went well, value or exception)."""
        self._count += 1
        number = self._count
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._calls.put((number, method, arguments, options))
        try:
            return await self._answers[number]
        finally:
            del self._answers[number]

    async def take(self) -> Any:
        """The next call; None when there will be no more."""
        return await self._calls.get()

    async def answer(self, number: int, answer: Any) -> None:
        """Answer a call; nobody may wait for it any more."""
        waiting = self._answers.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def close(self) -> None:
        """Let the driver's `take` return None."""
        await self._calls.put(None)


class RelayedTracker:
    """What a trial uses in place of a Tracker: each of METHODS is carried out by the sweep's driver.

    Args:
        mailbox: The actor in between.
    """

    def __init__(self, mailbox: ActorHandle) -> None:
        """Say where to call."""
        self._mailbox = mailbox

    def __getattr__(self, method: str) -> Any:
        """A method of the driver's tracker."""
        if method not in METHODS:
            raise AttributeError(f"a trial's tracker has no {method}; it has {', '.join(METHODS)}")
        return partial(self._call, method)

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        well, value = ray.get(self._mailbox.call.remote(method, arguments, options))
        if well:
            return value
        raise value


class Relay:
    """The driver's end.

    Attributes:
        mailbox: To give to trials.
        opened: The MLflow runs that trials have opened, by name.
    """

    def __init__(self, tracker: Tracker) -> None:
        """Carry out calls with a tracker."""
        # It must live as long as the driver does.
        options = {"num_cpus": 0, "max_concurrency": 1000, "resources": driver_share(), "runtime_env": worker_env()}
        self.mailbox = ray.remote(_Mailbox).options(**options).remote()
        self.opened: dict[str, str] = {}
        self._tracker = tracker
        self._thread = threading.Thread(target=self._serve, name="relay of trials", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer what has been called so far, and no more."""
        ray.get(self.mailbox.close.remote())
        self._thread.join()
        ray.kill(self.mailbox)

    def _serve(self) -> None:
        while True:
            try:
                call = ray.get(self.mailbox.take.remote())
            except RayError:  # Ray is shut down
                return
            if call is None:
                return
            number, method, arguments, options = call
            assert method in METHODS
            self.mailbox.answer.remote(number, self._carry_out(method, arguments, options))

    def _carry_out(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[bool, Any]:
        try:
            value = getattr(self._tracker, method)(*arguments, **options)
        except Exception as error:  # handed on to the trial, which is where it belongs
            return False, _plain(error)
        if method == "run":
            self.opened[options["name"]] = value
        return True, value


@contextmanager
def relayed(tracker: Tracker) -> Iterator[Relay]:
    """A relay for the time of a block."""
    relay = Relay(tracker)
    try:
        yield relay
    except Exception:
        relay.close()
        raise
    # A stopped job has no time to wait for what trials still ask.
    relay.close()


def _plain(error: Exception) -> Exception:
    """The error itself where it can travel and names no credentials, which stay here; else one of its words."""
    told = hidden(str(error))
    if told != str(error):
        return RuntimeError(f"{type(error).__name__}: {told}")
    try:
        ray.cloudpickle.loads(ray.cloudpickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
