"""Where a run is, read off its artefacts: for anyone, while it goes on or after it ended."""

from typing import Any

from pipelines.config import Config, recorded
from pipelines.console import Console
from pipelines.console import duration as in_words
from pipelines.ledger import Ledger, describe
from pipelines.rounds import count_finished, finished_rounds, is_sweep
from pipelines.stopping import stop_reason
from pipelines.storage import open_storage
from pipelines.sweep.status import sweep_status
from weakseg.supervision import annotation_seconds


def status(config: Config, console: Console) -> dict[str, Any]:
    """Say at which step a run is, who works on it, and what it has got so far: the verb `status`.

    Args:
        config: Names the run and its storage.
        console: Where to write it.

    Returns:
        run, step, round (at which it is; None when all is done), rounds (finished), planned, owner, labels,
        seconds (of annotation), miou (of the last evaluated round), report. Of a sweep: its trials.

    Raises:
        LedgerError: There is no such run.
    """
    ledger = Ledger.read(open_storage(config.storage.root), config.run)
    if is_sweep(ledger):
        return sweep_status(ledger, console)
    planned = int(ledger.record["config"]["labelling"]["rounds"])
    rounds = count_finished(ledger)
    owner = ledger.owner()
    step, at = _step(ledger, rounds, planned, alive=bool(owner and owner["alive"]))
    labels = ledger.labels()
    scores = [metrics["validation"] for metrics in finished_rounds(ledger) if metrics["validation"]]
    report = "report.html"
    result = {
        "run": ledger.run,
        "step": step,
        "round": at,
        "rounds": rounds,
        "planned": planned,
        "owner": owner,
        "labels": labels.num_rows,
        "seconds": annotation_seconds(labels, seconds=ledger.record["config"]["labelling"]["seconds"]),
        "miou": scores[-1]["miou"] if scores else None,
        "report": ledger.address(report) if ledger.exists(report) else None,
    }
    where = step if at is None else f"round {at}: {step}"
    working = describe(owner) if owner and owner["alive"] else "nobody"
    console.line(f"{ledger.run}: {where}, {rounds} of {planned} rounds finished")
    console.line(f"working on it: {working}")
    console.line(f"labels: {labels.num_rows}, annotation time {in_words(result['seconds'])}")
    if scores and scores[-1]["miou"] is not None:
        console.line(f"validation mIoU: {100 * scores[-1]['miou']:.1f}")
    if result["report"]:
        console.line(f"report: {result['report']}")
    return result


def _step(ledger: Ledger, rounds: int, planned: int, *, alive: bool) -> tuple[str, int | None]:
    """The step that comes next (or is under way), and its round."""
    folder = ledger.round(rounds)
    settings = ledger.record["config"]
    reported = ledger.exists("report.html") and not alive
    # A run may stop before its last planned round: it has reported then, and no further round is begun.
    if rounds >= planned or (rounds > 0 and reported and not _begun(ledger, rounds) and not _extended(ledger)):
        return ("finished" if reported else "register and report"), None
    if settings["supervision"]["points"]:
        scores = rounds > 0 and settings["labelling"]["acquisition"] != "random"
        if scores and not ledger.exists(f"{ledger.round(rounds - 1)}/scored.parquet"):
            return "score", rounds
        for step, artefact in (("select", "queries.parquet"), ("annotate", "labels.parquet")):
            if not ledger.exists(f"{folder}/{artefact}"):
                return step, rounds
    return ("evaluate" if ledger.exists(f"{folder}/train/history.json") else "train"), rounds


def _begun(ledger: Ledger, round: int) -> bool:
    return bool(ledger.storage.list(ledger.key(ledger.round(round))))


def _extended(ledger: Ledger) -> bool:
    """Whether a run that may have stopped was told since to go on, and has not come to its end again."""
    record = ledger.record
    fields = [amendment["field"] for amendment in record["amendments"]]
    if not any(field == "labelling.rounds" or field.startswith("stop.") for field in fields):
        return False
    config = recorded(record["config"])
    return stop_reason(config, finished_rounds(ledger), images=len(ledger.pool.index("train"))) is None
