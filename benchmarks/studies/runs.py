"""Runs of the public command line, one after the other, and the book of those that are finished.

A study may be killed at any time: a finished run is read from the book, one that was under way goes on by itself, since
the same command finishes it.
"""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import now

ATTEMPTS = 3
"""Of a run that ends by itself with an error that is not the user's; each goes on where the one before stopped."""


class StudyError(Exception):
    """A study that cannot go on, in words."""


@dataclass(frozen=True)
class Run:
    """One call of the command line.

    Attributes:
        key: Its name in the book.
        name: The run's name; two keys of one name are two stages of the same run.
        verb: active or train.
        recipe: Name of the recipe.
        seed: Of everything.
        settings: `section.field=value`, without paths.
        group: What it is compared as.
        shares: Name of the run whose round 0 is also this one's, None = its own.
    """

    key: str
    name: str
    verb: str
    recipe: str
    seed: int
    settings: tuple[str, ...]
    group: str
    shares: str | None = None

    @property
    def overrides(self) -> list[str]:
        """All its `section.field=value`."""
        return [f"run={self.name}", f"seed={self.seed}", *self.settings]

    @property
    def shown(self) -> str:
        """The command as a reader would type it."""
        options = " ".join(f"--set {shlex.quote(override)}" for override in self.overrides)
        return f"python -m pipelines {self.verb} --config {self.recipe} {options}"


Execute = Callable[[Run], dict[str, Any]]
"""Carries a run out and gives what the command printed as JSON."""


class Book:
    """The results file: what is known of every finished run.

    Args:
        path: The JSON file; made at the first entry.
        about: What is written at its top; None = what is there.
    """

    def __init__(self, path: Path, about: Mapping[str, Any] | None) -> None:
        self._path = path
        content = json.loads(path.read_text()) if path.exists() else {}
        kept = {key: content[key] for key in content if key not in ("written", "summary", "runs")}
        self._about = kept if about is None else dict(about)
        self.runs: dict[str, dict[str, Any]] = content.get("runs", {})
        self.summary: dict[str, Any] = content.get("summary", {})

    def carry_out(self, run: Run, execute: Execute, progress: Callable[[str], None]) -> dict[str, Any]:
        """The record of a run: from the book, or by carrying it out.

        Args:
            run: Which.
            execute: Carries it out.
            progress: Called with one line for a run that was carried out.

        Returns:
            Seed, command, commit, rounds, test scores, seconds and moment.

        Raises:
            StudyError: The book holds a run of this key with another command.
        """
        known = self.runs.get(run.key)
        if known is not None:
            if known["command"] != run.shown:
                raise StudyError(
                    f"{self._path} holds {run.key} from another command ({known['command']}); "
                    "take that entry out, or write to another file"
                )
            return known
        started = time.monotonic()
        result = execute(run)
        record = {
            "group": run.group,
            "seed": run.seed,
            "command": run.shown,
            "commit": self._about.get("commit"),
            "shares_round_0_with": run.shares,
            "rounds": [_round(metrics) for metrics in result["rounds"]],
            "test": None if result["test"] is None else _scores(result["test"]),
            "wall_seconds": round(time.monotonic() - started, 1),
            "finished": now(),
        }
        self.runs[run.key] = record
        self.write()
        progress(f"{run.key}: {_sentence(record)} in {record['wall_seconds']:.0f} s")
        return record

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        content = {**self._about, "written": now(), "summary": self.summary, "runs": self.runs}
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        partial.replace(self._path)


class CommandLine:
    """Carries runs out by `python -m pipelines`.

    Args:
        root: The storage of all runs.
        logs: Folder that takes what they print.
        settings: `section.field=value` for every run, after its own.
    """

    def __init__(self, root: Path, logs: Path, settings: tuple[str, ...] = ()) -> None:
        self._root, self._logs, self._settings = root, logs, settings

    def __call__(self, run: Run) -> dict[str, Any]:
        """Carry a run out.

        Raises:
            StudyError: It ended with an error; the text has the end of its log.
        """
        overrides = [*run.overrides, *self._settings, f"storage.root={self._root}"]
        options = [part for override in overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "pipelines", run.verb, "--config", run.recipe, "--json", *options]
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{run.key}.log"
        for attempt in range(ATTEMPTS):
            with log.open("a") as errors:
                errors.write(f"{now()} {run.shown}\n")
                errors.flush()
                finished = subprocess.run(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    check=False,
                    cwd=Path(__file__).parents[2],
                    env={**os.environ, "RAY_AUTH_MODE": "disabled", "MLFLOW_DISABLE_TELEMETRY": "true"},
                    preexec_fn=_end_with_parent,
                )
                errors.write(finished.stdout)
            if finished.returncode == 0:
                result: dict[str, Any] = json.loads(finished.stdout.strip().splitlines()[-1])
                return result
            if finished.returncode == 2 or attempt == ATTEMPTS - 1:
                break
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise StudyError(f"{run.key} ended with exit code {finished.returncode} ({log}):\n{tail}")


def _end_with_parent() -> None:
    """A run whose study was killed ends too: it would hold its lease against the study's next start."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _round(metrics: Mapping[str, Any]) -> dict[str, Any]:
    names = ("round", "labels", "labels_per_image", "seconds", "bill", "epochs", "train_loss")
    return {**{name: metrics[name] for name in names if name in metrics}, "validation": _scores(metrics["validation"])}


def _scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    names = ("round", "miou", "iou", "pixel_accuracy", "mean_accuracy", "boundary", "images")
    return {name: scores[name] for name in names if name in scores}


def _sentence(record: Mapping[str, Any]) -> str:
    rounds = " ".join(f"{100 * found['validation']['miou']:.2f}" for found in record["rounds"])
    test = f", test {100 * record['test']['miou']:.2f}" if record["test"] else ""
    return f"validation mIoU {rounds}{test}"
