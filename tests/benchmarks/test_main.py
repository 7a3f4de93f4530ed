from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.engine import table

RUNNER = CliRunner()


def test_all_runs_every_benchmark_in_order(monkeypatch):
    seen = []
    monkeypatch.setattr(table, "measure", lambda names, **options: seen.append((names, options["pairs"])) or {})
    result = RUNNER.invoke(app, ["engine", "all", "--no-save", "--json"])
    assert result.exit_code == 0, result.output
    assert seen == [(["prepare", "train", "score", "memory", "round"], 7)]
    assert result.output.strip().splitlines()[-1] == "{}"


def test_unknown_names_are_told_with_the_known_ones():
    result = RUNNER.invoke(app, ["engine", "nothing"])
    assert result.exit_code == 2
    assert "prepare" in result.output
    assert RUNNER.invoke(app, ["study", "nothing"]).exit_code == 2


def test_a_study_without_data_says_what_to_set(monkeypatch, tmp_path):
    for name in ("CAMVID", "WEAKSEG_SQUEEZENET", "WEAKSEG_TEST_DATA"):
        monkeypatch.delenv(name, raising=False)
    result = RUNNER.invoke(app, ["study", "acquisition", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "CAMVID is not set: give --data" in result.output
