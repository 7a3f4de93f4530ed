"""A run's artefacts: read by anyone, committed by the one driver that owns the run."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from pipelines.config import digest
from pipelines.ledger.identity import new_record, reopened, rounds_of, with_rounds
from pipelines.ledger.layout import configured_coarse_table, configured_holdout, round_folder, run_key
from pipelines.ledger.lease import HEARTBEAT_SECONDS, Lease, alive, read_owner
from pipelines.storage import Storage
from weakseg.errors import LedgerError
from weakseg.schema import LABELS

if TYPE_CHECKING:
    from pipelines.pool import Pool

RECORD = "run.json"
SUPERVISION = "supervision"
"""What people gave beside asked pixels, below the run's folder."""


class Ledger:
    """The artefacts of a run under keys of its own (``rounds/000/labels.parquet``): each there whole or not at all.

    Opened with :meth:`open` by the driver that works on the run, or with :meth:`read` by anyone to look at it.

    Attributes:
        storage: Where the run lies.
        run: Its name.
    """

    def __init__(self, storage: Storage, run: str, *, record: Mapping[str, Any], lease: Lease | None = None) -> None:
        """Use :meth:`open` or :meth:`read`."""
        self.storage, self.run = storage, run
        self._record, self._lease = dict(record), lease
        self._pool: Pool | None = None

    @classmethod
    def open(
        cls,
        storage: Storage,
        run: str,
        identity: Mapping[str, Any],
        config: Mapping[str, Any],
        versions: Mapping[str, str],
        *,
        adds_rounds: bool = True,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> Self:
        """Own a run until the ``with`` block or :meth:`close` ends it: a new one, or one that goes on.

        One in which nothing was done yet, such as where a file of labels was refused, may become another.

        Args:
            storage: Where runs lie.
            run: The run's name.
            identity: The settings that decide its result; they cannot change. `pool` is the pool's digest.
            config: All settings, nested by section and JSON-able; `labelling.rounds` may only grow.
            versions: Of the libraries at work, by name.
            adds_rounds: Whether there will be rounds after the first; else the run keeps the number it has on record,
                a new one 1.
            heartbeat: Seconds between signs of life.

        Returns:
            The ledger, holding the lease.

        Raises:
            LedgerError: If another driver owns the run, it was started with another identity, or its record is gone.
            ResourceError: If the storage cannot be written.
        """
        lease = Lease(storage, run, heartbeat=heartbeat)
        lease.acquire()
        try:
            # Only an owner may do so: what is unfinished now, a dead driver has left.
            storage.sweep(run_key(run))
            key = f"{run_key(run)}/{RECORD}"
            stored = _decode(storage.read_bytes(key), key) if storage.exists(key) else None
            if not adds_rounds:
                config = with_rounds(config, 1 if stored is None else rounds_of(stored))
            fresh = new_record(run, identity=identity, config=config, versions=versions)
            if stored is None:
                _refuse_leftovers(storage, run)
                storage.create_once(key, _encode(fresh))
                return cls(storage, run, record=fresh, lease=lease)
            before = stored
            changed = (fresh["identity"], fresh["config"]) != (stored["identity"], stored["config"])
            if changed and _nothing_done(storage, run):
                storage.delete_tree(f"{run_key(run)}/{SUPERVISION}")  # taken from the files that were configured then
                before = {**fresh, "id": stored["id"], "created": stored["created"]}
            record = reopened(before, identity=identity, config=config, versions=versions)
            ledger = cls(storage, run, record=record, lease=lease)
            if record != stored:
                ledger.write_json(RECORD, record)
            return ledger
        except BaseException:
            lease.release()
            raise

    @classmethod
    def read(cls, storage: Storage, run: str) -> Self:
        """Look at a run without owning it; writing is refused.

        Raises:
            LedgerError: If there is no such run; the text names those there are.
        """
        key = f"{run_key(run)}/{RECORD}"
        try:
            return cls(storage, run, record=_decode(storage.read_bytes(key), key))
        except FileNotFoundError:
            known = ", ".join(runs(storage)) or "none"
            raise LedgerError(
                f"no run {run} in storage {storage.root}: not begun, or its images are still being prepared; "
                f"there are: {known}"
            ) from None

    def close(self) -> None:
        """Give the run free; a second call does nothing."""
        if self._lease is not None:
            self._lease.release()

    def __enter__(self) -> Self:
        """The ledger itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the run free."""
        self.close()

    @property
    def record(self) -> dict[str, Any]:
        """The content of `run.json`: run, id, created, identity, config, versions, amendments."""
        return self._record

    @property
    def id(self) -> str:
        """Unique to this run, also among runs of one name in several storages."""
        return str(self._record["id"])

    @property
    def config_digest(self) -> str:
        """12 hexadecimal digits over the identity."""
        return digest(self._record["identity"])

    @property
    def pool(self) -> "Pool":
        """The run's pool, with the superpixels and coarse labels that its configuration asks for."""
        if self._pool is None:
            # Here, because it brings torch: asking for the status of a run should not take seconds.
            from pipelines.pool import Pool

            config = self._record["config"]
            superpixels = config.get("superpixels") or {}
            self._pool = Pool(
                self.storage,
                self._record["identity"]["pool"],
                segments=superpixels.get("segments", 0),
                compactness=superpixels.get("compactness", 10.0),
                coarse=configured_coarse_table(config.get("supervision") or {}),
                holdout=configured_holdout(config),
            )
        return self._pool

    def owner(self) -> dict[str, Any] | None:
        """Who works on the run: host, pid, started, heartbeat, and whether it is alive; None if nobody does."""
        owner = read_owner(self.storage, self.run)
        return None if owner is None else {**owner, "alive": alive(owner)}

    def key(self, key: str = "") -> str:
        """The storage's key of one of the run's."""
        return f"{run_key(self.run)}/{key}" if key else run_key(self.run)

    def address(self, key: str = "") -> str:
        """Where one of the run's keys lies: a path on this machine, or s3://..."""
        return self.storage.address(self.key(key))

    def round(self, round: int) -> str:
        """The folder of a round, as a key of the run: ``rounds/000``."""
        return round_folder(round)

    def exists(self, key: str) -> bool:
        """Whether an artefact is there, whole."""
        return self.storage.exists(self.key(key))

    def read_bytes(self, key: str) -> bytes:
        """An artefact's bytes; FileNotFoundError if there is none."""
        return self.storage.read_bytes(self.key(key))

    def read_json(self, key: str) -> Any:
        """A JSON artefact; FileNotFoundError if there is none."""
        return _decode(self.read_bytes(key), self.key(key))

    def read_table(self, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet artefact; FileNotFoundError if there is none."""
        return self.storage.read_table(self.key(key), columns=columns)

    @property
    def owned(self) -> bool:
        """Whether this driver owns the run (still)."""
        try:
            self._check()
        except LedgerError:
            return False
        return True

    def write_bytes(self, key: str, data: bytes) -> None:
        """Commit an artefact.

        Raises:
            LedgerError: If this driver does not own the run (any more).
            ResourceError: If the storage cannot be written.
        """
        self._check()
        self.storage.write_bytes(self.key(key), data)

    def write_json(self, key: str, value: Any) -> None:
        """Commit a JSON artefact; NaN is refused. Raises as :meth:`write_bytes`."""
        self.write_bytes(key, _encode(value))

    def write_table(self, key: str, table: pa.Table) -> None:
        """Commit a Parquet artefact. Raises as :meth:`write_bytes`."""
        self._check()
        self.storage.write_table(self.key(key), table)

    def labels(self, up_to: int | None = None) -> pa.Table:
        """All labels of the rounds so far, in the order in which they were written.

        Args:
            up_to: The last round to read, all by default.

        Returns:
            Rows of the labels table; none where nothing is labelled.
        """
        names = [name for name in self.storage.folders(self.key("rounds")) if name.isdigit()]
        keys = [
            f"rounds/{name}/labels.parquet" for name in sorted(names, key=int) if up_to is None or int(name) <= up_to
        ]
        tables = [self.read_table(key).cast(LABELS) for key in keys if self.exists(key)]
        return pa.concat_tables([LABELS.empty_table(), *tables])

    def _check(self) -> None:
        if self._lease is None:
            raise LedgerError(f"run {self.run} is open for reading only")
        self._lease.check()


def runs(storage: Storage) -> list[str]:
    """The names of all runs in a storage."""
    return [name for name in storage.folders("runs") if storage.exists(f"runs/{name}/{RECORD}")]


def _nothing_done(storage: Storage, run: str) -> bool:
    """Whether a run has nothing but what its start writes."""
    prefix = f"{run_key(run)}/"
    written = (RECORD, "owner.", f"{SUPERVISION}/")
    return all(key.removeprefix(prefix).startswith(written) for key in storage.list(run_key(run)))


def _refuse_leftovers(storage: Storage, run: str) -> None:
    """Make sure that a run without a record has nothing of one before it, whose settings nobody knows any more."""
    if not _nothing_done(storage, run):
        raise LedgerError(
            f"run {run}: {storage.address(run_key(run))} holds finished work without its {RECORD}, which says by what "
            f"settings; restore {RECORD} from a backup, delete the folder, or choose another name with --set run=NAME"
        )
    storage.delete_tree(f"{run_key(run)}/{SUPERVISION}")


def _encode(value: Any) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _decode(data: bytes, key: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise LedgerError(f"{key} is not readable JSON ({error}); restore it from a backup or delete the run") from None
