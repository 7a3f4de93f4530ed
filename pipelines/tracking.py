"""MLflow's side of a run: the driver owns the MLflow runs by explicit ids and is their only writer.

No use is made of MLflow's fluent state (an active run, a global address): it is per process, and a driver that is
started again must find its runs by what they are for. The tag `weakseg.key` says so; it is written when a run is
created and looked for before, so that a crash at any moment leads to no second run.
"""

import math
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import mlflow
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines import signals
from pipelines.config import Config
from pipelines.console import Console
from pipelines.credentials import anonymous, hidden
from pipelines.ledger import Ledger
from pipelines.ledger.layout import pool_key
from pipelines.mlflow_limits import METRICS_AT_ONCE, PARAMS_AT_ONCE, batches, flat, metric_name, quoted, short
from pipelines.pool import Pool
from pipelines.storage import Storage
from pipelines.tracking_uri import as_uri, tracking_uri
from weakseg.errors import ResourceError

KEY = "weakseg.key"
"""The tag that says what an MLflow run, model or version is for."""

_PARENT = "mlflow.parentRunId"
_CONTEXT = "mlflow.data.context"


def open_tracker(config: Config, storage: Storage) -> "Tracker":
    """Connect to the tracking store and find or create the experiment.

    Args:
        config: Its `tracking` section.
        storage: Where the database lies when neither the configuration nor MLFLOW_TRACKING_URI names a store.

    Raises:
        ResourceError: If the store is of a kind that MLflow cannot write, or the experiment cannot be used.
    """
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    uri = tracking_uri(config, storage)
    if uri.startswith(("http://", "https://", "databricks")):
        return Tracker(uri, config.tracking.experiment)
    # The tables of a new database are made at the first touch: two drivers at once would both make them.
    with storage.lock("mlflow.lock", wait=True):
        # A server knows where artefacts go; without one MLflow would put them into the current folder.
        location = as_uri(storage.address("mlruns"))
        return Tracker(uri, config.tracking.experiment, artifact_location=location)


@contextmanager
def ended(tracker: "Tracker", run_id: str, ledger: Ledger, console: Console) -> Iterator[None]:
    """Carry out a block, and end a run of MLflow's as the block ends, with all that runs below it.

    What another driver has taken over meanwhile is left to that one.

    Args:
        tracker: The run's.
        run_id: MLflow's id of the run.
        ledger: Of the run, open for writing.
        console: Where it is said that the run could not be ended.
    """
    try:
        yield
    except BaseException as error:
        if not ledger.owned:
            raise
        if isinstance(error, Exception):
            try_to_end(tracker, run_id, "FAILED", console)
        else:
            # A stopped job has 3 s in all: a slow server must not keep the lease from being given back.
            signals.at_most(1.5, lambda: tracker.end(run_id, "KILLED"))
        raise
    tracker.finish(run_id, "FINISHED")


def try_to_end(tracker: "Tracker", run_id: str, status: Literal["FAILED", "KILLED"], console: Console) -> None:
    """End a run before its time, or say in one line why that cannot be: what ended it matters more."""
    try:
        tracker.end(run_id, status)
    except Exception as error:
        reason = hidden(str(error)).strip().partition("\n")[0]
        console.line(f"MLflow: the run stays open ({reason})")


class Tracker:
    """One experiment of a tracking store.

    Attributes:
        uri: The store's address.
        experiment_id: The experiment.
        client: MLflow's client, for what this class does not do (the registry).
    """

    def __init__(self, uri: str, experiment: str, *, artifact_location: str | None = None) -> None:
        """Find or create the experiment.

        Args:
            uri: The store's address.
            experiment: The experiment's name.
            artifact_location: Where a new experiment keeps files; None = where the server wants.

        Raises:
            ResourceError: If the experiment was deleted.
        """
        self.uri = uri
        self.client = MlflowClient(uri)
        self.experiment_id = self._experiment(experiment, artifact_location).experiment_id
        self._logged: dict[tuple[str, str], int] = {}
        self._new: set[str] = set()
        # Epochs are logged from the thread that watches the training.
        self._lock = threading.Lock()

    def run(
        self,
        key: str,
        *,
        name: str,
        parent_run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        """Find the MLflow run of a key and set it running again, or create it.

        Args:
            key: What the run is for; unique to this run of weakseg, also among all that share the store.
            name: What people see.
            parent_run_id: The run it is shown below.
            tags: Further tags.
            params: Parameters, which may be nested. MLflow cannot change one: what differs from the first start
                becomes a tag `amended.NAME`.

        Returns:
            The run's id.
        """
        fixed = {KEY: key} | ({_PARENT: parent_run_id} if parent_run_id else {})
        all_tags = {**{name: short(value, "tag") for name, value in (tags or {}).items()}, **fixed}
        found = self.find(key)
        if found is None:
            found = self.client.create_run(self.experiment_id, tags=all_tags, run_name=name)
            self._new.add(found.info.run_id)
        else:
            if found.info.status != "RUNNING":
                self.client.update_run(found.info.run_id, status="RUNNING")
            self._set_tags(found, all_tags)
        self._set_params(found, params or {})
        return str(found.info.run_id)

    def find(self, key: str) -> Run | None:
        """The MLflow run of a key, if there is one that was not deleted."""
        runs = self.client.search_runs(
            [self.experiment_id],
            f"tags.`{KEY}` = {quoted(key)}",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        return runs[0] if runs else None

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None], step: int) -> None:
        """Log values of one step; a value that this step or a later one already has is left out.

        Args:
            run_id: The run.
            metrics: By name; None = not measured.
            step: Round or epoch.
        """
        self._log(run_id, [(metrics, step)])

    def log_epochs(self, run_id: str, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Log all epochs so far, as often as wanted; those already logged are left out.

        Args:
            run_id: The run.
            epochs: One mapping per epoch: `epoch` is the step, what else is a number is a metric.
        """
        self._log(run_id, [({k: v for k, v in row.items() if k != "epoch"}, int(row["epoch"])) for row in epochs])

    def log_bytes(self, run_id: str, path: str, data: bytes) -> None:
        """Store a file with a run, replacing one of that path.

        Args:
            run_id: The run.
            path: Relative, with `/`.
            data: The content.
        """
        inside = PurePosixPath(path)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, inside.name)
            file.write_bytes(data)
            parent = str(inside.parent)
            self.client.log_artifact(run_id, str(file), artifact_path=None if parent == "." else parent)

    def log_pool(self, run_id: str, pool: Pool) -> None:
        """Name the pool, with its digest, as what the run read. A second call changes nothing."""
        with warnings.catch_warnings():
            # MLflow knows folders under two names and wonders which is meant.
            warnings.simplefilter("ignore", UserWarning)
            source = resolve_dataset_source(as_uri(pool.storage.address(pool_key(pool.digest))))
        dataset = MetaDataset(source, name=pool.manifest["layout"], digest=pool.digest)
        entity = DatasetInput(dataset._to_mlflow_entity(), [InputTag(_CONTEXT, "training")])
        self.client.log_inputs(run_id, [entity])

    def finish(self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """End a run; :meth:`run` sets it running again."""
        self.client.set_terminated(run_id, status)

    def end(self, run_id: str, status: Literal["FAILED", "KILLED"]) -> None:
        """End a run, and whatever below it is still running, before its time."""
        below = f"tags.`{_PARENT}` = '{run_id}' and attributes.status = 'RUNNING'"
        for child in self.client.search_runs([self.experiment_id], below):
            self.end(child.info.run_id, status)
        self.finish(run_id, status)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make this the store that MLflow takes by itself: addresses `models:/...` are looked up nowhere else."""
        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            # Sets the variable too, and with None deletes it.
            mlflow.set_tracking_uri(before)

    def _experiment(self, name: str, artifact_location: str | None) -> Experiment:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                self.client.create_experiment(name, artifact_location=artifact_location)
            except MlflowException as error:
                # Another driver was faster.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self.client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise ResourceError(
                f"tracking.experiment: {name} was deleted in MLflow; restore it with "
                f"`MLFLOW_TRACKING_URI={anonymous(self.uri)} mlflow experiments restore --experiment-id "
                f"{found.experiment_id}`, or choose another name"
            )
        return found

    def _set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        changed = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
        for batch in batches(changed, PARAMS_AT_ONCE):
            self.client.log_batch(run.info.run_id, tags=batch)

    def _set_params(self, run: Run, params: Mapping[str, Any]) -> None:
        wanted = dict(flat(params))
        there = run.data.params
        new = [Param(name, value) for name, value in wanted.items() if name not in there]
        for batch in batches(new, PARAMS_AT_ONCE):
            self.client.log_batch(run.info.run_id, params=batch)
        amended = {name: value for name, value in wanted.items() if there.get(name, value) != value}
        self._set_tags(run, {f"amended.{name}": short(value, "tag") for name, value in amended.items()})

    def _log(self, run_id: str, rows: Iterable[tuple[Mapping[str, Any], int]]) -> None:
        with self._lock:
            now = int(time.time() * 1000)
            new = []
            for metrics, step in rows:
                for name, value in metrics.items():
                    key = metric_name(name)
                    if value is None or step <= self._last_step(run_id, key):
                        continue
                    new.append(Metric(key, float(value), now, step))
                    self._logged[run_id, key] = step
            for batch in batches(new, METRICS_AT_ONCE):
                self.client.log_batch(run_id, metrics=batch)

    def _last_step(self, run_id: str, key: str) -> float:
        """The last step at which a metric was logged, by this driver or one before it."""
        if (run_id, key) not in self._logged:
            history = [] if run_id in self._new else self.client.get_metric_history(run_id, key)
            if not history:
                return -math.inf
            self._logged[run_id, key] = max(metric.step for metric in history)
        return self._logged[run_id, key]
