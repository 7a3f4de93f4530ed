import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

import pipelines.cli as cli
import weakseg
from weakseg.errors import ConfigError, LedgerError

runner = CliRunner()
COMMON = {"--set", "--json", "--verbose", "--help"}
VERBS = {
    "demo": COMMON,
    "prepare": COMMON | {"--config"},
    "train": COMMON | {"--config"},
    "active": COMMON | {"--config"},
    "evaluate": COMMON | {"--config", "--model"},
    "predict": (COMMON - {"--set"})
    | {"--model", "--input", "--output", "--probabilities", "--overlays", "--tile", "--overlap"}
    | {"--actors", "--gpu", "--no-gpu", "--tracking-uri"},
    "annotate": COMMON | {"--config", "--host", "--port", "--export", "--import"},
    "sweep": COMMON | {"--config"},
    "report": COMMON | {"--config"},
    "status": COMMON | {"--config"},
    "config": COMMON | {"--config", "--explain"},
}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """Puts a function in the place of whatever a verb would call."""

    def put(function):
        stands_in = SimpleNamespace(active=function, sweep=function)
        monkeypatch.setattr(cli, "import_module", lambda name: stands_in)
        monkeypatch.setattr("pipelines.console.quiet_engines", lambda verbose=False: None)

    return put


def test_the_version_is_told():
    assert runner.invoke(cli.app, ["--version"]).stdout == f"weakseg {weakseg.__version__}\n"


def test_the_library_alone_says_what_the_commands_need():
    code = (
        "import sys; sys.modules['typer'] = None; import runpy; sys.argv = ['weakseg']; "
        "runpy.run_module('pipelines', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (
        2,
        "weakseg's commands need what the library alone does not (typer): install weakseg[pipelines]\n",
    )


def test_the_command_line_is_pinned():
    help_text = runner.invoke(cli.app, ["--help"])
    assert help_text.exit_code == 0
    listed = [line.split()[0] for line in help_text.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == list(VERBS)
    for verb, options in VERBS.items():
        text = runner.invoke(cli.app, [verb, "--help"]).stdout.partition("Options:")[2]
        assert {word for word in text.split() if word.startswith("--")} == options, verb


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        (["active"], "Missing option '--config'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["active", "--config", "demo", "--rounds", "3"], "No such option: --rounds"),
        (["active", "--config", "demon"], "unknown recipe demon (did you mean demo?)"),
        (["config", "--config", "none.yaml"], "no such file: none.yaml"),
        (["demo", "--set", "labelling.rounds=0"], "labelling.rounds: expected a whole number from 1, got 0"),
        (["prepare", "--config", "camvid-cpu"], "CAMVID is not set"),
        (["predict", "--model", "m", "--input", "i"], "Missing option '--output'"),
        (["predict", "--model", "m", "--input", "i", "--output", "o", "--tile", "512"], "such as 512,512, got 512"),
    ],
)
def test_wrong_input_exits_2_without_a_traceback(arguments: list[str], stderr: str):
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert stderr in result.stderr
    assert "Traceback" not in result.output


def test_all_faults_are_lines_of_stderr():
    result = runner.invoke(cli.app, ["demo", "--set", "training.lr=0", "--set", "model.foo=1", "--set", "seed=-1"])
    assert result.exit_code == 2
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["seed", "model.foo", "training.lr"]
    assert result.stdout == ""


def test_config_prints_the_whole_resolved_configuration():
    result = runner.invoke(cli.app, ["config", "--config", "demo", "--set", "training.lr=1e-2", "--json"])
    assert result.exit_code == 0
    *lines, last = result.stdout.strip().splitlines()
    printed = yaml.safe_load("\n".join(lines))
    assert printed == json.loads(last)
    assert printed["training"]["lr"] == 0.01
    assert printed["training"]["momentum"] == 0.9
    assert printed["run"] == "demo"


def test_demo_is_active_with_its_recipe_and_json_is_the_last_line(stand_in):
    def active(config, console):
        console.line("round 0: done")
        return {"run": config.run, "iou": [0.5, float("nan")], "verbose": console.verbose}

    stand_in(active)
    result = runner.invoke(cli.app, ["demo", "--json", "--set", "run=mine"])
    assert result.stdout.splitlines() == ["round 0: done", '{"run": "mine", "iou": [0.5, null], "verbose": false}']
    assert result.exit_code == 0
    assert runner.invoke(cli.app, ["active", "--config", "demo", "--verbose"]).stdout == "round 0: done\n"


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 1)])
def test_a_sweep_with_failed_trials_prints_its_result_and_exits_with_1(stand_in, failed: int, code: int):
    result = {"run": "demo-sweep", "trials": {"planned": 4, "finished": 4 - failed, "failed": failed}}
    stand_in(lambda config, console, *, source: result)
    ended = runner.invoke(cli.app, ["sweep", "--config", "demo-sweep", "--json"])
    assert (ended.exit_code, json.loads(ended.stdout)) == (code, result)


@pytest.mark.parametrize("error", [LedgerError("run demo: owned by another"), ConfigError(["one: x", "two: y"])])
def test_the_users_faults_are_shown_as_they_are(stand_in, error: Exception):
    def active(config, console):
        raise error

    stand_in(active)
    result = runner.invoke(cli.app, ["demo"])
    assert (result.exit_code, result.stderr) == (2, f"{error}\n")


def test_anything_else_keeps_its_traceback_and_exits_1(stand_in):
    def active(config, console):
        raise KeyError("a fault of ours")

    stand_in(active)
    result = runner.invoke(cli.app, ["demo"])
    assert result.exit_code == 1
    assert isinstance(result.exception, KeyError)


def test_help_and_faults_come_before_the_engines_are_imported():
    code = (
        "import sys; from typer.testing import CliRunner; from pipelines.cli import app; "
        "r = CliRunner(); a = r.invoke(app, ['--help']); b = r.invoke(app, ['demo', '--set', 'seed=x']); "
        "print(a.exit_code, b.exit_code, [m for m in ('ray', 'torch', 'mlflow', 'rich.progress') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "0 2 []"


def test_python_m_pipelines_is_the_same():
    command = [sys.executable, "-m", "pipelines", "config", "--config", "demon"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "did you mean demo?" in finished.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_is_one_line_and_the_signals_code(
    stand_in, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
):
    def leave(code: int) -> None:
        raise SystemExit(code)

    def verb(config: object, console: object) -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(10)

    before = {handled: signal.getsignal(handled) for handled in cli.signals.HANDLED}
    monkeypatch.setattr(cli.signals, "leave", leave)
    stand_in(verb)
    try:
        result = runner.invoke(cli.app, ["demo", "--set", "run=mine"])
    finally:
        for handled, handler in before.items():
            signal.signal(handled, handler)
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line == f"mine: stopped by {number.name}; what is finished is kept, the same command goes on from there"


def test_no_error_shows_a_password(stand_in):
    def verb(config: object, console: object) -> None:
        raise KeyError("cannot reach postgresql://me:word-of-nobody@host/db")

    stand_in(verb)
    result = runner.invoke(cli.app, ["demo"])
    assert result.exit_code == 1
    assert "word-of-nobody" not in result.output
    assert "Traceback" in result.stderr
    assert "postgresql://me:***@host/db" in result.stderr
