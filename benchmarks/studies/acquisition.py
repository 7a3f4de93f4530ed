"""What asking well is worth: acquisition functions over paired seeds, beside the same network on full masks.

Every strategy asks 10 pixels per image in each of three rounds, 30 in all; a void answer counts. For a seed all
strategies share round 0. Choices (the schedule of the full masks) are made on validation; test is read once per final
model, that of the last round.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine, versions
from benchmarks.studies import figure, findings
from benchmarks.studies.fork import fork
from benchmarks.studies.runs import RECIPE, Book, CommandLine, Execute, Run, StudyError

RESULTS = Path(__file__).parents[1] / "results" / "acquisition.json"
SEEDS = (0, 1, 2, 3, 4)
FIRST_SEEDS = 3
"""Seeds after which the full masks are looked at: an early end then still leaves a comparison."""

BASELINE = "random"
STRATEGIES: dict[str, tuple[str, ...]] = {
    "random": ("labelling.acquisition=random",),
    "margin": ("labelling.acquisition=margin",),
}
"""By name, what sets a strategy apart. The first is the baseline, and its round 0 is shared by the others."""

ASKED = ("labelling.rounds=3", "labelling.pixels_per_image=10", "register.round=last")
MASKS = ("supervision.points=false", "supervision.masks=true")

DATA = {
    "CAMVID": ("--data", "camvid"),
    "WEAKSEG_SQUEEZENET": ("--weights", "weights/squeezenet1_0-imagenet-fp16.safetensors"),
}
"""The recipe's environment variables: the option that sets each, and where the tests' data have it."""

EPOCHS = 12
LENGTHEN = 1.5
LEAST_GAIN = 0.005
MOST_EPOCHS = 200


def run(
    *,
    seeds: Sequence[int],
    root: Path,
    results: Path = RESULTS,
    settings: tuple[str, ...] = (),
    execute: Execute | None = None,
    progress: Callable[[str], None] = print,
) -> str:
    """Carry out what is missing of the study, then write figures, curve and summary.

    Args:
        seeds: The paired seeds; the first also chooses the schedule of the full masks.
        root: The storage of all runs; logs lie in `root/logs`.
        results: The JSON file; the curve goes beside it.
        settings: `section.field=value` for every run, to try the study out.
        execute: Carries a run out; the command line by default.
        progress: Called with one line for every finished run.

    Returns:
        The summary in words.

    Raises:
        StudyError: A run failed, or something is missing.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise StudyError(f"expected seeds, each once, got {list(seeds)}")
    if execute is None:
        _require_data()
        root = root.resolve()
        execute = _forked(root, settings, CommandLine(root, root / "logs", settings))
    book = Book(
        results,
        {
            "study": "acquisition",
            "command": f"python -m benchmarks study acquisition --seeds {','.join(map(str, seeds))}",
            "config": RECIPE,
            "settings": list(settings),
            "machine": machine(),
            "versions": versions(),
            "commit": commit(),
        },
    )

    def done(run: Run) -> dict[str, Any]:
        record = book.carry_out(run, execute, progress)
        book.summary = findings.summary(book.runs, strategies=list(STRATEGIES), baseline=BASELINE)
        book.write()
        return record

    first, rest = list(seeds[:FIRST_SEEDS]), list(seeds[FIRST_SEEDS:])
    for seed in first:
        for strategy in STRATEGIES:
            done(strategy_run(strategy, seed))
    epochs, tried = choose_epochs(lambda epochs: _last_miou(done(masks_trial(epochs, seeds[0]))))
    for seed in first:
        done(masks_run(epochs, seed))
    for seed in rest:
        for strategy in STRATEGIES:
            done(strategy_run(strategy, seed))
        done(masks_run(epochs, seed))
    book.summary |= {"full_mask_epochs": {"chosen": epochs, "validation": {str(key): tried[key] for key in tried}}}
    book.write()
    figure.save(book.summary, results.with_suffix(".png"))
    return findings.text(book.summary)


def strategy_run(strategy: str, seed: int) -> Run:
    """The run of a strategy."""
    name = f"{strategy}-s{seed}"
    shares = None if strategy == BASELINE else f"{BASELINE}-s{seed}"
    return Run(name, name, "active", seed, (*STRATEGIES[strategy], *ASKED), strategy, shares)


def masks_trial(epochs: int, seed: int) -> Run:
    """Full masks with a schedule of so many epochs, on validation only."""
    name = f"masks-e{epochs}-s{seed}"
    settings = (*MASKS, f"training.epochs={epochs}", "evaluate.test=false")
    return Run(f"{name}-trial", name, "train", seed, settings, "trial")


def masks_run(epochs: int, seed: int) -> Run:
    """Full masks with the chosen schedule, tested; where it was tried before, only the test is missing."""
    settings = (*MASKS, f"training.epochs={epochs}")
    return Run(f"masks-s{seed}", f"masks-e{epochs}-s{seed}", "train", seed, settings, "masks")


def choose_epochs(
    miou: Callable[[int], float],
    *,
    start: int = EPOCHS,
    factor: float = LENGTHEN,
    least_gain: float = LEAST_GAIN,
    most: int = MOST_EPOCHS,
) -> tuple[int, dict[int, float]]:
    """Lengthen a schedule until half as many epochs again gain too little.

    Args:
        miou: Validation mIoU (0..1) of a schedule of so many epochs.
        start: The shortest schedule.
        factor: Of the next one.
        least_gain: Below this the shorter one is long enough.
        most: The longest schedule to try.

    Returns:
        The chosen schedule, and the mIoU of all that were tried.
    """
    tried = {start: miou(start)}
    chosen = start
    while (longer := int(chosen * factor)) <= most:
        tried[longer] = miou(longer)
        if tried[longer] - tried[chosen] < least_gain:
            break
        chosen = longer
    return chosen, tried


def _forked(root: Path, settings: tuple[str, ...], command_line: Execute) -> Execute:
    """Before a run starts, it takes over the round 0 that it shares with another."""

    def execute(run: Run) -> dict[str, Any]:
        if run.shares is not None:
            fork(root, run.shares, run.name, _identity(root, run, settings))
        return command_line(run)

    return execute


def _identity(root: Path, run: Run, settings: tuple[str, ...]) -> dict[str, Any]:
    """The identity that a run will have, over the pool of the run it shares a round with."""
    from pipelines.config import identity, load

    config = load(RECIPE, [*run.overrides, *settings, f"storage.root={root}"])
    record = root / "runs" / str(run.shares) / "run.json"
    if not record.exists():
        return {}
    return identity(config, json.loads(record.read_text())["identity"]["pool"])


def _require_data() -> None:
    """Set the variables that the recipe's paths need, from the folder of the tests' data where they are not set."""
    folder = os.environ.get("WEAKSEG_TEST_DATA")
    for variable, (option, inside) in DATA.items():
        if variable not in os.environ:
            if not folder or not Path(folder, inside).exists():
                raise StudyError(f"{variable} is not set: give {option}, or export {variable}=/path/to/it")
            os.environ[variable] = str(Path(folder, inside).resolve())


def _last_miou(record: dict[str, Any]) -> float:
    return float(record["rounds"][-1]["validation"]["miou"])
