"""What every study has in common: its book, its data, one run after the other, then figures in words and a plot."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine, versions
from benchmarks.studies.findings import Records
from benchmarks.studies.fork import fork
from benchmarks.studies.runs import Book, CommandLine, Execute, Run, StudyError

RESULTS = Path(__file__).parents[1] / "results"
SEEDS = (0, 1, 2)

DATA = {
    "CAMVID": ("--data", "camvid"),
    "DUBAI": ("--data", "dubai"),
    "WEAKSEG_SQUEEZENET": ("--weights", "weights/squeezenet1_0-imagenet-fp16.safetensors"),
}
"""The recipes' environment variables: the option that sets each, and where the tests' data have it."""

Done = Callable[[Run], Mapping[str, Any]]
"""Carries a run out, unless the book has it, and gives its record."""


@dataclass(frozen=True)
class Study:
    """A comparison.

    Attributes:
        name: What the command line calls it.
        recipe: What its runs start from.
        data: The environment variable of the data's folder.
        folder: Where its runs are kept by default, below the folder of all; studies of one folder share runs.
        plan: Carries out the runs for the given seeds, the most valuable first, and notes what it chooses on the way in
            the dictionary it is given.
        summary: The figures of the runs so far, with what was chosen so far.
        draw: Draws a summary into a PNG file.
        text: A summary in words.
    """

    name: str
    recipe: str
    data: str
    folder: str
    plan: Callable[[Sequence[int], Done, dict[str, Any]], None]
    summary: Callable[[Records, Mapping[str, Any]], dict[str, Any]]
    draw: Callable[[Mapping[str, Any], Path], None]
    text: Callable[[Mapping[str, Any]], str]

    @property
    def results(self) -> Path:
        """Where the figures go by default."""
        return RESULTS / f"{self.name}.json"

    @property
    def root(self) -> Path:
        """Where the runs are kept by default."""
        return Path("weakseg-data") / self.folder


def run(
    study: Study,
    *,
    seeds: Sequence[int] = SEEDS,
    root: Path | None = None,
    results: Path | None = None,
    settings: tuple[str, ...] = (),
    execute: Execute | None = None,
    progress: Callable[[str], None] = print,
    report: bool = False,
) -> str:
    """Carry out what is missing of a study, then write figures, plot and summary.

    Args:
        study: Which.
        seeds: The paired seeds; the first one makes the choices that are made on a single seed.
        root: The storage of all runs; logs lie in `root/logs`.
        results: The JSON file; the plot goes beside it.
        settings: `section.field=value` for every run, to try the study out.
        execute: Carries a run out; the command line by default.
        progress: Called with one line for every finished run.
        report: Carry out nothing: figures, plot and summary of the runs so far.

    Returns:
        The summary in words.

    Raises:
        StudyError: A run failed, or something is missing.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise StudyError(f"expected seeds, each once, got {list(seeds)}")
    root, results = root or study.root, results or study.results
    if report:
        execute = _nothing
    elif execute is None:
        require_data(study.data, "WEAKSEG_SQUEEZENET")
        root = root.resolve()
        execute = _forked(root, settings, CommandLine(root, root / "logs", settings))
    book = Book(results, None if report else _about(study, seeds, settings))
    if report and not book.runs:
        raise StudyError(f"{results} holds no finished run of {study.name} to report")
    choices: dict[str, Any] = {}

    def done(run: Run) -> Mapping[str, Any]:
        known = run.key in book.runs
        record = book.carry_out(run, execute, progress)
        if not known:
            write()
        return record

    def write() -> None:
        book.summary = study.summary(book.runs, choices)
        book.write()

    with suppress(_Missing):
        study.plan(seeds, done, choices)
    write()
    study.draw(book.summary, results.with_suffix(".png"))
    return study.text(book.summary)


def _about(study: Study, seeds: Sequence[int], settings: tuple[str, ...]) -> dict[str, Any]:
    """What is written at the top of the results."""
    return {
        "study": study.name,
        "command": f"python -m benchmarks study {study.name} --seeds {','.join(map(str, seeds))}",
        "config": study.recipe,
        "settings": list(settings),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }


class _Missing(Exception):
    """A report, which carries out nothing, came to a run that is not in the book."""


def _nothing(run: Run) -> dict[str, Any]:
    raise _Missing


def require_data(*variables: str) -> None:
    """Set the variables that a recipe's paths need, from the folder of the tests' data where they are not set.

    Raises:
        StudyError: One is not set, and there is no such folder.
    """
    folder = os.environ.get("WEAKSEG_TEST_DATA")
    for variable in variables:
        option, inside = DATA[variable]
        if variable not in os.environ:
            if not folder or not Path(folder, inside).exists():
                raise StudyError(f"{variable} is not set: give {option}, or export {variable}=/path/to/it")
            os.environ[variable] = str(Path(folder, inside).resolve())


def _forked(root: Path, settings: tuple[str, ...], command_line: Execute) -> Execute:
    """Before a run starts, it takes over the round 0 that it shares with another."""

    def execute(run: Run) -> dict[str, Any]:
        if run.shares is not None:
            fork(root, run.shares, run.name, *_record(root, run, settings))
        return command_line(run)

    return execute


def _record(root: Path, run: Run, settings: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Identity and settings that a run will have, over the pool of the run it shares a round with."""
    from pipelines.config import identity, load

    record = root / "runs" / str(run.shares) / "run.json"
    if not record.exists():
        return {}, {}
    config = load(run.recipe, [*run.overrides, *settings, f"storage.root={root}"], verb=run.verb)
    return identity(config, json.loads(record.read_text())["identity"]["pool"]), config.model_dump(mode="json")
