"""What the user sees: progress bars on a terminal, single lines elsewhere, and no chatter from the engines."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_WIDTH = 120
"""Columns of a page that is no terminal: a table in a log is not broken at 80."""

QUIET_SECONDS = 30.0
"""A log gets at most one line of progress in so many seconds."""

SILENT_SECONDS = 300.0
"""And one for every tenth of the work, or after so many seconds with less."""


class Stage:
    """A piece of work under way; :meth:`Console.stage` makes it.

    Args:
        progress: The bars it is shown among, None where there is no terminal.
        name: Its name.
        total: How many steps it has, where that is known.
        line: Writes a line of progress where there is no terminal.
        clock: Seconds, from whenever.
    """

    def __init__(
        self,
        progress: Progress | None,
        name: str,
        total: int | None,
        *,
        line: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.done = 0
        self.total = total
        self._line, self._clock = line, clock
        self._started = clock()
        self._told, self._told_at = 0, self._started
        self._progress = progress
        self._task: TaskID | None = progress.add_task(name, total=total) if progress else None

    def advance(self, steps: int = 1) -> None:
        """Count steps that are done."""
        self.done += steps
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, steps)
        elif self._due():
            self._line(f"{self.name}: {self._so_far()}")
            self._told, self._told_at = self.done, self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._started

    def _due(self) -> bool:
        if self.total is not None and self.done >= self.total:
            return False  # the last line is coming
        quiet = self._clock() - self._told_at
        much = self.total is not None and self.done - self._told >= self.total / 10
        return quiet >= SILENT_SECONDS or (much and quiet >= QUIET_SECONDS)

    def _so_far(self) -> str:
        if self.total is None:
            return f"{self.done} in {duration(self.elapsed)}"
        left = self.elapsed / self.done * (self.total - self.done)
        return f"{self.done}/{self.total}, about {duration(left)} left"

    def close(self) -> None:
        """Take its bar away."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)


class Console:
    """Where all that the user reads is written.

    Args:
        verbose: Whether the engines' own messages are shown too.
        file: Where to write, standard output by default.
        width: Columns; the terminal's by default, 120 where there is none.
        clock: Seconds, from whenever; tests give their own.

    Attributes:
        run: The run that lines are about: where there is no terminal every line begins with it, because logs of
            several runs are read together.
    """

    def __init__(
        self,
        *,
        verbose: bool = False,
        file: TextIO | None = None,
        width: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.verbose = verbose
        self.run: str | None = None
        self._clock = clock
        out = file or sys.stdout
        terminal = out.isatty()
        self._rich = RichConsole(
            file=out, width=width or (None if terminal else _WIDTH), highlight=False, soft_wrap=True
        )
        self._live = terminal and self._rich.is_terminal
        self._progress: Progress | None = None
        self._open = 0

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show a piece of work: a bar while it lasts, and one line with its time when it is done.

        Where there is no terminal, one that lasts tells at times how far it is.

        Args:
            name: What is being done.
            total: How many steps it has; None where that is not known.

        Yields:
            The stage, whose `advance(n)` counts steps.
        """
        stage = Stage(self._bars(), name, total, line=self.line, clock=self._clock)
        try:
            yield stage
        finally:
            stage.close()
            self._open -= 1
            if self._open == 0 and self._progress is not None:
                self._progress.stop()
                self._progress = None
        count = f" {stage.done}/{total}" if total is not None else f" {stage.done}" if stage.done else ""
        self.line(f"{name}:{count} in {duration(stage.elapsed)}")

    def line(self, text: str) -> None:
        """Write one line as it is, after the run's name in a log."""
        named = self.run is not None and not self._live and not text.startswith(f"{self.run}:")
        self._rich.print(f"{self.run}: {text}" if named else text, markup=False, emoji=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write a table.

        Args:
            title: What it shows.
            columns: The heads.
            rows: One value per column; numbers should come as text in the precision they deserve.
        """
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        self._rich.print(table, markup=False, emoji=False)

    def _bars(self) -> Progress | None:
        """The bars on a terminal: one display for all open stages, because a terminal holds only one."""
        self._open += 1
        if self._live and self._progress is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._progress = Progress(*columns, console=self._rich, transient=True)
            self._progress.start()
        return self._progress


def duration(seconds: float) -> str:
    """A time in words, such as `4.2 s`, `3 min 05 s` or `1 h 02 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def quiet_engines(verbose: bool = False) -> None:
    """Silence what Ray, MLflow and their libraries print by themselves. To be called before they are imported.

    What the user has set in the environment stays; what is set here reaches the workers of a Ray started here.

    Args:
        verbose: Leave everything as it is.
    """
    if verbose:
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(ray|mlflow|pydantic|torch|timm|segmentation_models_pytorch)\b")


_QUIET = {
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_USAGE_STATS_ENABLED": "0",  # also the question about it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_LOGGERS = ("ray", "ray.data", "ray.train", "mlflow", "alembic", "sqlalchemy", "huggingface_hub", "timm", "git")
