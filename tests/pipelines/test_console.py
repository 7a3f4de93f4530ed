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
