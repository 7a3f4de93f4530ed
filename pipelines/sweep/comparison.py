"""What the trials of a sweep add up to: the table, the figures and the best recipe."""

import json
from collections.abc import Sequence
from typing import Any

from pipelines.config.space import words
from pipelines.summary import percent
from pipelines.sweep.plan import Trial, chosen_config
from pipelines.sweep.recipe import recipe
from pipelines.sweep.results import NAMES, UNSCORED, best, columns, compares, figures, line, rows
from pipelines.sweep.state import Sweep
from weakseg.errors import WeaksegError


def compared(state: Sweep, done: Sequence[Trial], before: Sequence[str], source: str) -> dict[str, Any]:
    """Write the table, the pictures and the best recipe, into the ledger and to MLflow, and say them.

    Args:
        state: The sweep, none of whose trials runs any more.
        done: All its trials.
        before: Names of those that had ended before this call.
        source: The `--config` that the sweep was read from.

    Returns:
        What the verb `sweep` returns.

    Raises:
        RuntimeError: No trial could be finished.
        WeaksegError: No trial has a score, though none failed.
    """
    config, ledger, console = state.config, state.ledger, state.console
    assert config.sweep is not None
    table = rows(done, state.records)
    top = best(table)
    if top is None:
        if state.failures:
            last = next(reversed(state.failures.values()))
            raise RuntimeError(f"sweep {ledger.run}: no trial could be finished; the last one: {last}")
        errors = [record["error"] for record in state.records.values() if record.get("error")]
        last = errors[-1].splitlines()[0] if errors else "none was run to its end"
        raise WeaksegError(f"sweep {ledger.run}: no trial has a score; the last one: {last}")
    chosen = next(trial for trial in done if trial.point == top["point"] and not _unfinished(state, trial))
    head = (
        f"The best of sweep {ledger.run}: {NAMES[config.sweep.metric]} {percent(top['score'])} on validation with "
        f"{words(top['point'])}.\n"
        f"weakseg {config.sweep.verb} --config {ledger.address('best.yaml')}\n"
        "finds its training done and tests, registers and reports it; with --set run=NAME it is trained anew."
    )
    files = {
        "best.yaml": recipe(chosen_config(config, chosen), source=source, head=head).encode(),
        "results.json": json.dumps(table, indent=1).encode(),
        **figures(config, table),
    }
    for name, data in files.items():
        ledger.write_bytes(name, data)
        state.tracker.log_bytes(state.run_id, name, data)
    # By how many have ended: a trial that failed before may bring another best one.
    ended = sum(trial.name in state.records for trial in done)
    state.tracker.log_metrics(state.run_id, {f"best_{config.sweep.metric}": top["score"]}, step=ended)
    console.table(f"{ledger.run}: {len(done)} trials", columns(config), [line(row, chosen=row is top) for row in table])
    for name, error in state.failures.items():
        console.line(
            f"failed: {name}: {error} (the same command tries again; all of it in {ledger.address('failures')})"
        )
    addresses = {name: ledger.address(name) for name in files if name.endswith(".png")}
    for address in addresses.values():
        console.line(f"figure: {address}")
    console.line(f"best recipe: {ledger.address('best.yaml')}")
    names = {trial.name for trial in done}
    records = [record for name, record in state.records.items() if name in names]
    return {
        "run": ledger.run,
        "trials": {
            "planned": len(done),
            "finished": sum(compares(record) for record in records),
            **{why: sum(bool(record.get(why)) for record in records) for why in UNSCORED},
            "failed": len(state.failures),
            "before": len(names & set(before)),
        },
        "table": table,
        "best": {
            "point": top["point"],
            "score": top["score"],
            "run": chosen.name,
            "recipe": ledger.address("best.yaml"),
        },
        "figures": addresses,
    }


def _unfinished(state: Sweep, trial: Trial) -> bool:
    record = state.records.get(trial.name)
    return record is None or not compares(record)
