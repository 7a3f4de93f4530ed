import os

from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.engine import table
from benchmarks.studies import study

RUNNER = CliRunner()


def test_all_runs_every_benchmark_in_order(monkeypatch):
    seen = []
    monkeypatch.setattr(table, "measure", lambda names, **options: seen.append((names, options["pairs"])) or {})
    result = RUNNER.invoke(app, ["engine", "all", "--no-save", "--json"])
    assert result.exit_code == 0, result.output
    assert seen == [(list(table.BENCHMARKS), 7)]
    assert result.output.strip().splitlines()[-1] == "{}"


def test_unknown_names_are_told_with_the_known_ones():
    result = RUNNER.invoke(app, ["engine", "nothing"])
    assert result.exit_code == 2
    assert "prepare" in result.output
    result = RUNNER.invoke(app, ["study", "nothing"])
    assert result.exit_code == 2
    assert "spss-noise" in result.output


def test_a_study_without_data_says_what_to_set(monkeypatch, tmp_path):
    for name in ("CAMVID", "WEAKSEG_SQUEEZENET", "WEAKSEG_TEST_DATA"):
        monkeypatch.delenv(name, raising=False)
    result = RUNNER.invoke(app, ["study", "acquisition", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "CAMVID is not set: give --data" in result.output


def test_a_study_is_given_its_options(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(study, "run", lambda one, **options: seen.append((one.name, options)) or "a table")
    monkeypatch.setenv("DUBAI", "elsewhere")
    options = ["--seeds", "3,4", "--data", str(tmp_path), "--set", "training.epochs=1", "--report"]
    result = RUNNER.invoke(app, ["study", "spss-noise", *options])
    assert result.exit_code == 0, result.output
    ((name, given),) = seen
    assert name == "spss-noise"
    assert (given["seeds"], given["settings"], given["report"]) == ((3, 4), ("training.epochs=1",), True)
    assert (given["root"], given["results"]) == (None, None)
    assert os.environ["DUBAI"] == str(tmp_path.resolve())
    assert "a table" in result.output


def test_seeds_are_whole_numbers():
    result = RUNNER.invoke(app, ["study", "coarse", "--seeds", "one"])
    assert result.exit_code == 2
    assert "whole numbers" in result.output
