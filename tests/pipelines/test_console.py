import io
import os
import re
import subprocess
import sys

import pytest

from pipelines.console import Console, duration, quiet_engines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_off_a_terminal_a_stage_is_one_line():
    out = io.StringIO()
    console = Console(file=out)
    with console.stage("prepare", total=3) as stage:
        for _ in range(3):
            stage.advance()
    with console.stage("score") as stage:
        stage.advance(5)
    with console.stage("register"):
        pass
    lines = out.getvalue().splitlines()
    assert [re.sub(r"\d+\.\d s$", "T", line) for line in lines] == [
        "prepare: 3/3 in T",
        "score: 5 in T",
        "register: in T",
    ]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(steps: int, total: int | None, *, each: float) -> list[str]:
    """What a log shows of a stage whose steps take so many seconds each."""
    out, clock = io.StringIO(), Clock()
    with Console(file=out, clock=clock).stage("train", total=total) as stage:
        for _ in range(steps):
            clock.now += each
            stage.advance()
    return out.getvalue().splitlines()


def test_a_log_tells_of_each_tenth_of_a_long_stage():
    lines = told(50, 50, each=60)
    assert lines[0] == "train: 5/50, about 45 min 00 s left"
    assert lines[-2:] == ["train: 45/50, about 5 min 00 s left", "train: 50/50 in 50 min 00 s"]
    assert len(lines) == 10


def test_a_log_gets_no_line_sooner_than_half_a_minute_after_another():
    assert told(10, 10, each=2.5) == ["train: 10/10 in 25.0 s"]
    assert told(100, 100, each=1) == [
        "train: 30/100, about 1 min 10 s left",
        "train: 60/100, about 40.0 s left",
        "train: 90/100, about 10.0 s left",
        "train: 100/100 in 1 min 40 s",
    ]


def test_a_stage_that_is_slow_or_of_unknown_length_tells_every_five_minutes():
    slow = told(1000, 1000, each=100)
    assert slow[:2] == ["train: 3/1000, about 27 h 41 min left", "train: 6/1000, about 27 h 36 min left"]
    assert told(7, None, each=100) == ["train: 3 in 5 min 00 s", "train: 6 in 10 min 00 s", "train: 7 in 11 min 40 s"]


def test_in_a_log_every_line_names_the_run_once():
    out = io.StringIO()
    console = Console(file=out)
    console.line("before")
    console.run = "demo"
    console.line("round 0: done before")
    console.line("demo: all rounds are done")
    with console.stage("prepare", total=0):
        pass
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["before", "demo: round 0: done before", "demo: all rounds are done"]
    assert lines[3].startswith("demo: prepare: 0/0 in ")


def test_on_a_terminal_the_run_is_not_repeated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    console = Console(file=out, width=100)
    console.run = "demo"
    console.line("round 0: done before")
    assert out.getvalue() == "round 0: done before\n"


def test_a_stage_that_fails_is_not_called_done():
    out = io.StringIO()
    console = Console(file=out)
    with pytest.raises(KeyError), console.stage("train", total=2):
        raise KeyError
    assert out.getvalue() == ""
    with console.stage("train", total=2):
        pass
    assert out.getvalue().startswith("train: 0/2 in ")


def test_on_a_terminal_bars_may_be_nested_and_leave_one_line_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    console = Console(file=out, width=100)
    with console.stage("outer", total=2) as outer:
        with console.stage("inner [a]", total=4) as inner:
            inner.advance(4)
        console.line("between")
        outer.advance(2)
    text = out.getvalue()
    assert "\x1b[" in text  # bars were drawn
    plain = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text).splitlines() if " in " in line]
    assert [line.split(" in ")[0].rsplit("inner", 1)[-1].rsplit("outer", 1)[-1] for line in plain] == [
        " [a]: 4/4",
        ": 2/2",
    ]


def test_lines_are_written_as_they_are_however_long():
    out = io.StringIO()
    text = "[red]report[/red]: :smile: " + "/long" * 60
    Console(file=out).line(text)
    assert out.getvalue() == text + "\n"


def test_table_holds_title_heads_and_values():
    out = io.StringIO()
    Console(file=out).table("demo: done", ["round", "mIoU [%]"], [["0", "31.2"], [1, None]])
    text = out.getvalue()
    for part in ("demo: done", "round", "mIoU [%]", "31.2"):
        assert part in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")],
)
def test_duration(seconds: float, text: str):
    assert duration(seconds) == text


def test_quiet_engines_respects_the_user_and_does_nothing_when_verbose(monkeypatch: pytest.MonkeyPatch):
    for name in ("RAY_DATA_DISABLE_PROGRESS_BARS", "MLFLOW_LOGGING_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    quiet_engines(verbose=True)
    assert "RAY_DATA_DISABLE_PROGRESS_BARS" not in os.environ
    environment = {**os.environ, "MLFLOW_LOGGING_LEVEL": "DEBUG"}
    code = (
        "import logging, os; from pipelines.console import quiet_engines; quiet_engines(); "
        "print(os.environ['RAY_DATA_DISABLE_PROGRESS_BARS'], os.environ['MLFLOW_LOGGING_LEVEL'], "
        "logging.getLogger('alembic').isEnabledFor(logging.WARNING))"
    )
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["1", "DEBUG", "False"]
