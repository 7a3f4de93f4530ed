"""How far a sweep is, read off its ledger and those of its trials."""

import re
from typing import Any

from pipelines.config import recorded
from pipelines.console import Console
from pipelines.ledger import Ledger, alive, describe, read_owner
from pipelines.rounds import finished_trials
from pipelines.sweep.plan import planned


def sweep_status(ledger: Ledger, console: Console) -> dict[str, Any]:
    """Say how many trials are done and which are running.

    Args:
        ledger: The sweep's.
        console: Where to write it.

    Returns:
        run, step, done, running (names), planned, owner, best (the recipe's address, None before the end).
    """
    config = recorded(ledger.record["config"])
    done, count = finished_trials(ledger), planned(config, ledger)
    trial = re.compile(re.escape(ledger.run) + r"-[0-9a-f]{8}-s\d+")
    names = [name for name in ledger.storage.folders("runs") if trial.fullmatch(name) and name not in done]
    running = [name for name in names if alive(read_owner(ledger.storage, name))]
    owner = ledger.owner()
    best = ledger.address("best.yaml") if ledger.exists("best.yaml") else None
    step = "finished" if best and len(done) >= count else "trials"
    console.line(f"{ledger.run}: sweep, {len(done)} of {count} trials done, {len(running)} running")
    for name in running:
        console.line(f"  {name}")
    console.line(f"working on it: {describe(owner) if owner and owner['alive'] else 'nobody'}")
    if best:
        console.line(f"best recipe: {best}")
    return {
        "run": ledger.run,
        "step": step,
        "done": len(done),
        "running": running,
        "planned": count,
        "owner": owner,
        "best": best,
    }
