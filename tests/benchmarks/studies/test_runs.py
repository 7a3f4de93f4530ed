import dataclasses
import json
import subprocess
import sys

import pytest

from benchmarks.studies import runs
from benchmarks.studies.runs import Book, CommandLine, Run, StudyError

RUN = Run("margin-s1", "margin-s1", "active", "camvid-cpu", 1, ("labelling.acquisition=margin",), "margin")

SCRIPT = """
import sys
print("a table")
print('{"rounds": []}')
print("boom", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def command(monkeypatch):
    """Replaces the command line by a script; gives the calls and takes the exit codes."""
    calls: list[list[str]] = []
    codes: list[int] = []
    real = subprocess.run

    def fake(arguments, **options):
        calls.append(arguments)
        code = codes.pop(0) if codes else 0
        return real([sys.executable, "-c", SCRIPT, str(code)], **options)

    monkeypatch.setattr(runs.subprocess, "run", fake)
    return calls, codes


def test_the_last_line_is_the_result(tmp_path, command):
    calls, _ = command
    result = CommandLine(tmp_path / "root", tmp_path / "logs", ("training.epochs=1",))(RUN)
    assert result == {"rounds": []}
    arguments = calls[0][1:]
    assert arguments[:6] == ["-m", "pipelines", "active", "--config", "camvid-cpu", "--json"]
    overrides = arguments[7::2]
    assert overrides[:3] == ["run=margin-s1", "seed=1", "labelling.acquisition=margin"]
    assert overrides[3:] == ["training.epochs=1", f"storage.root={tmp_path / 'root'}"]
    assert "boom" in (tmp_path / "logs" / "margin-s1.log").read_text()


def test_a_run_that_fails_is_started_again(tmp_path, command):
    calls, codes = command
    codes += [1, -9]
    assert CommandLine(tmp_path, tmp_path)(RUN) == {"rounds": []}
    assert len(calls) == 3


def test_a_run_that_keeps_failing_ends_the_study(tmp_path, command):
    calls, codes = command
    codes += [1] * 5
    with pytest.raises(StudyError, match=r"margin-s1 ended with exit code 1[\s\S]*boom"):
        CommandLine(tmp_path, tmp_path)(RUN)
    assert len(calls) == runs.ATTEMPTS


def test_what_the_user_must_put_right_is_not_tried_again(tmp_path, command):
    calls, codes = command
    codes.append(2)
    with pytest.raises(StudyError, match="exit code 2"):
        CommandLine(tmp_path, tmp_path)(RUN)
    assert len(calls) == 1


def test_the_command_is_shown_without_paths():
    options = "--set run=margin-s1 --set seed=1 --set labelling.acquisition=margin"
    assert RUN.shown == f"python -m pipelines active --config camvid-cpu {options}"


def test_a_command_can_be_pasted_into_a_shell():
    run = dataclasses.replace(RUN, recipe="dubai-spss", settings=("loss={mask: 1}", "model.weights=$WEIGHTS"))
    assert run.shown.endswith(
        "--config dubai-spss --set run=margin-s1 --set seed=1 --set 'loss={mask: 1}' --set 'model.weights=$WEIGHTS'"
    )


def test_a_book_keeps_of_which_commit_its_runs_are(tmp_path):
    path = tmp_path / "book.json"
    path.write_text(json.dumps({"commit": "old", "runs": {"a": {"group": "a", "commit": "older"}}}))
    book = Book(path, {"commit": "new"})
    validation = {"miou": 0.4, "boundary": {"f1": 0.2}, "calibration": {}}
    row = {"round": 0, "labels_per_image": 1.0, "seconds": 2.0, "bill": {"points": 2.0}, "validation": validation}
    record = book.carry_out(RUN, lambda run: {"rounds": [row], "test": None}, lambda line: None)
    content = json.loads(path.read_text())
    assert [run["commit"] for run in content["runs"].values()] == ["older", "new"]
    assert content["commit"] == "new"
    assert record["rounds"] == [row | {"validation": {"miou": 0.4, "boundary": {"f1": 0.2}}}]
