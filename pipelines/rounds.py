"""A run's rounds as their artefacts tell them: what is finished, which is best, the best one's model."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from safetensors.torch import load as load_weights
from torch import nn

from pipelines.ledger import Ledger
from weakseg.errors import LedgerError
from weakseg.models import load

CHOSEN = "chosen.json"
"""The round that was tested and registered when the run last ended."""


def finished_rounds(ledger: Ledger) -> list[dict[str, Any]]:
    """The metrics of all rounds that have been evaluated, in order.

    Args:
        ledger: The run, held or only read.
    """
    found = []
    while ledger.exists(f"{ledger.round(len(found))}/metrics.json"):
        found.append(ledger.read_json(f"{ledger.round(len(found))}/metrics.json"))
    return found


def is_sweep(ledger: Ledger) -> bool:
    """Whether a ledger is a sweep's."""
    return "sweep.search" in ledger.record["identity"]


def finished_trials(ledger: Ledger) -> list[str]:
    """The names of a sweep's trials that have ended, sorted."""
    prefix = ledger.key("trials/")
    return [
        key.removeprefix(prefix).removesuffix(".json")
        for key in ledger.storage.list(ledger.key("trials"))
        if key.endswith(".json")
    ]


def refuse_sweep(ledger: Ledger) -> None:
    """Raise LedgerError for a sweep, which has no rounds of its own."""
    if is_sweep(ledger):
        trial = next(iter(finished_trials(ledger)), f"{ledger.run}-...")
        raise LedgerError(f"{ledger.run} is a sweep, whose trials have the rounds: name one, as --set run={trial}")


def count_finished(ledger: Ledger) -> int:
    """How many rounds are finished, with nothing of them left to do.

    Args:
        ledger: The run, held or only read.
    """
    count = 0
    while ledger.exists(f"{ledger.round(count)}/_SUCCESS"):
        count += 1
    return count


def worth(metrics: Mapping[str, Any]) -> float | None:
    """What a round's model is judged by: its validation mIoU, without masks its estimated accuracy; None without both.

    Args:
        metrics: The round's.
    """
    if metrics["validation"]:
        miou: float | None = metrics["validation"]["miou"]
        return miou
    return metrics["estimate"]["accuracy"] if metrics.get("estimate") else None


def choose_round(rounds: Sequence[Mapping[str, Any]], which: Literal["best", "last"] = "best") -> int:
    """The round whose model is tested, registered and shown.

    Args:
        rounds: The rounds' metrics, at least one.
        which: `best` is the best validation mIoU, without masks the best estimated accuracy; of equal ones, and without
            either, the last.

    Returns:
        Its number.
    """
    if which == "last":
        return int(rounds[-1]["round"])

    def key(metrics: Mapping[str, Any]) -> tuple[float, int]:
        score = worth(metrics)
        return (-1.0 if score is None else score, metrics["round"])

    return int(max(rounds, key=key)["round"])


def write_chosen(ledger: Ledger, round: int) -> None:
    """Write down which round is tested and registered.

    Args:
        ledger: The run, held by this driver.
        round: Which.
    """
    if not ledger.exists(CHOSEN) or ledger.read_json(CHOSEN) != {"round": round}:
        ledger.write_json(CHOSEN, {"round": round})


def chosen_round(ledger: Ledger, rounds: Sequence[Mapping[str, Any]]) -> int:
    """The round that was tested and registered; of a run that has not ended yet, the one that would be now.

    Args:
        ledger: The run, held or only read.
        rounds: The rounds' metrics, at least one.
    """
    if ledger.exists(CHOSEN):
        return int(ledger.read_json(CHOSEN)["round"])
    return choose_round(rounds, ledger.record["config"]["register"]["round"])


def round_model(ledger: Ledger, round: int) -> nn.Module:
    """The model of a round, ready to predict on the CPU: a driver has no GPU, those of its machine are Ray's."""
    folder = ledger.round(round)
    return ready_model(ledger.read_json(f"{folder}/model.json"), ledger.read_bytes(f"{folder}/model.safetensors"))


def ready_model(spec: Mapping[str, Any], weights: bytes, *, device: str = "cpu") -> nn.Module:
    """A stored model, ready to predict on a device."""
    return load(spec, load_weights(weights)).to(device).eval()
