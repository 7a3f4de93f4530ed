"""What the steps of a sweep share."""

from dataclasses import dataclass, field
from typing import Any

from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.sweep.models import Fault
from pipelines.sweep.rungs import Rungs
from pipelines.sweep.tuning import Carry
from pipelines.tracking import Tracker

TUNE = "tune"
"""What Ray Tune writes, below the sweep's folder: nothing that counts."""


@dataclass
class Sweep:
    """A sweep that is open.

    Attributes:
        rungs: Which trials are behind; None = none is stopped.
        fault: Why a trial could not be trained.
        records: The outcomes of trials that have ended, by name.
        failures: The last errors of trials that failed in this call, by name.
    """

    config: Config
    ledger: Ledger
    tracker: Tracker
    run_id: str
    console: Console
    at_once: int
    carry: Carry
    rungs: Rungs | None = None
    fault: Fault = lambda config: None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
