"""Ray Tune's part: trials side by side, each in a process of its own, tried again when it dies.

Tune keeps nothing that counts: what it writes is deleted, and the ledger says which trials are left.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray.tune as tune

from pipelines import signals
from pipelines.faults import users_fault
from pipelines.resources import driver_share
from pipelines.storage import Storage
from pipelines.sweep.trial import Task, run
from weakseg.errors import DivergedError, LedgerError, ResourceError, WeaksegError

ATTEMPTS = 3
"""How often a trial is begun before it counts as failed."""

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the old one can be silenced
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would end as if it were done; a sweep that was stopped is not
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
}

_ALONE = (ResourceError, LedgerError)
"""Faults that other trials need not share: a storage that does not answer now, a run that someone else works on."""

Behind = Callable[..., bool]
Carry = Callable[[Task, Callable[[dict[str, Any]], None]], dict[str, Any]]


def run_trials(
    tasks: Mapping[str, Task],
    *,
    at_once: int,
    behind: Behind | None,
    storage: Storage,
    key: str,
    finished: Callable[[str, dict[str, Any]], None],
    failed: Callable[[str, str], None],
    verbose: bool = False,
    carry: Carry = run,
) -> None:
    """Run trials until each has ended one way or another.

    Args:
        tasks: By trial's name.
        at_once: How many side by side.
        behind: Whether a trial is to be stopped, by its name and report; None = none is.
        storage: Where Tune may write, seen by every node.
        key: The folder there; it is deleted before and after.
        finished: Called with a trial's name and outcome, in this process; `stopped` is true where ASHA ended it,
            `diverged` where its training did.
        failed: Called with a trial's name and its last error as text, after the last attempt.
        verbose: Whether Tune's own messages are shown.
        carry: What a trial does; tests put something cheap here.

    Raises:
        WeaksegError: What the user must put right in every trial; those under way are ended.
    """
    if not tasks:
        return
    storage.delete_tree(key)
    watch = _Watch(finished, failed)
    folder, _, name = f"{storage.path}/{key}".rpartition("/")
    with _environment(_QUIET), _silent(verbose):
        tuner = tune.Tuner(
            tune.with_resources(_trainable(dict(tasks), carry), _beside_the_driver()),
            param_space={"trial": tune.grid_search(list(tasks))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=at_once,
                trial_name_creator=lambda trial: trial.config["trial"],
                trial_dirname_creator=lambda trial: trial.config["trial"],
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=folder,
                storage_filesystem=storage.fs,
                failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
                callbacks=[watch],
                stop=_Stopper(watch, behind),
                verbose=0,
            ),
        )
        signals.beside(tuner.fit)
    storage.delete_tree(key)
    if watch.error is not None:
        raise watch.error


def _trainable(tasks: dict[str, Task], carry: Carry) -> Callable[[dict[str, Any]], None]:
    def trial(config: dict[str, Any]) -> None:
        try:
            outcome = carry(tasks[config["trial"]], lambda metrics: tune.report(metrics))
        except Exception as error:
            fault = users_fault(error)
            if isinstance(fault, DivergedError):
                tune.report({"outcome": {"score": None, "diverged": True, "error": str(fault)}})
                return
            if fault is None or isinstance(fault, _ALONE):
                raise
            tune.report({"fault": str(fault)})
            return
        # Without `score`: how trials go is compared, and what one comes to may be another measure.
        tune.report({"outcome": outcome})

    return trial


def _beside_the_driver() -> tune.PlacementGroupFactory:
    """A trial waits most of the time and takes no CPU from the work that it starts.

    It needs some resource all the same: that of nodes that stay.
    """
    return tune.PlacementGroupFactory([{"CPU": 0, **driver_share()}])


class _Watch(tune.Callback):
    """Hears of the trials in the driver's process; an error in here ends the sweep."""

    def __init__(self, finished: Callable[[str, dict[str, Any]], None], failed: Callable[[str, str], None]) -> None:
        self.error: BaseException | None = None
        self._finished, self._failed = finished, failed

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if result.get("fault"):
            lines = result["fault"].splitlines()
            self.error = self.error or WeaksegError(
                "\n".join(f"trial {trial.config['trial']}: {line}" for line in lines)
            )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        result = trial.last_result or {}
        if self.error is None and not result.get("fault"):
            outcome = result.get("outcome") or {"stopped": True, "score": result.get("score")}
            self._tell(self._finished, trial.config["trial"], outcome)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = trial.get_pickled_error() or trial.get_ray_actor_error()
        self._tell(self._failed, trial.config["trial"], str(error).strip() or repr(error))

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except BaseException as error:  # Tune would wrap it and go on writing about it
            self.error = self.error or error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that never comes."""
        return {}


class _Stopper(tune.Stopper):
    """Ends trials that are behind, and everything as soon as something is wrong."""

    def __init__(self, watch: _Watch, behind: Behind | None) -> None:
        self._watch, self._behind = watch, behind

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if self._behind is None or "step" not in result:
            return False
        try:
            return self._behind(result["config"]["trial"], result["step"], result["score"], last=result["last"])
        except BaseException as error:
            self._watch.error = self._watch.error or error
            return False

    def stop_all(self) -> bool:
        return self._watch.error is not None

    def __getstate__(self) -> dict[str, Any]:
        """As the watch's."""
        return {}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for a block, where the user has not set them."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _silent(verbose: bool) -> Iterator[None]:
    """Tune logs tracebacks of every attempt; the sweep tells what came of the last one."""
    log = logging.getLogger("ray.tune")
    before = log.level
    if not verbose:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
