import re

import pytest
from study_runs import CommandLine, carry_out, read, scores, setting

from benchmarks.studies import degraded, spss
from benchmarks.studies.degraded import CLUSTERS_STUDY, NOISE_STUDY


def found(run, before):
    """The more noise and the fewer clusters the worse; clip is better than softmax; a little apart by seed."""
    supervision = setting(run, "supervision")
    sigma, clusters = re.search(r"sigma: ([\d.]+)", supervision), re.search(r"clusters: (\d+)", supervision)
    level = 0.5 - (float(sigma[1]) / 5 if sigma else 0.0) - (1 / int(clusters[1]) if clusters else 0.0)
    level -= 0.05 if "softmax" in supervision else 0.0
    return scores(level + 0.002 * run.seed + 0.00001 * (len(run.group) * run.seed % 3))


def test_the_noise_curve(tmp_path):
    text = carry_out(NOISE_STUDY, tmp_path, CommandLine(found))
    content = read(NOISE_STUDY, tmp_path)
    summary = content["summary"]
    assert len(content["runs"]) == 3 * (1 + len(degraded.SIGMAS) + len(degraded.CLIPPED))
    assert summary["minus_exact"]["clip-0.1"]["mean"] == pytest.approx(-0.02, abs=1e-3)
    assert {one["verdict"] for one in summary["orderings"]} == {"holds"}
    assert ("clip-0.1", "softmax-0.1") in {(one["better"], one["worse"]) for one in summary["orderings"]}
    assert ("softmax-0.05", "softmax-0.1") in {(one["better"], one["worse"]) for one in summary["orderings"]}
    assert "the paper, version 1: 0 45, 0.05 42" in text
    assert (tmp_path / "spss-noise.png").stat().st_size > 1000


def test_the_cluster_curve(tmp_path):
    text = carry_out(CLUSTERS_STUDY, tmp_path, CommandLine(found))
    summary = read(CLUSTERS_STUDY, tmp_path)["summary"]
    assert list(summary["final"]) == ["spss", *(f"clusters-{count}" for count in (100, 50, 30, 20, 10, 5))]
    assert summary["minus_exact"]["clusters-5"]["mean"] == pytest.approx(-0.2, abs=1e-3)
    assert {one["verdict"] for one in summary["orderings"]} == {"holds"}
    assert "exact" in text
    assert (tmp_path / "spss-clusters.png").stat().st_size > 1000


def test_one_curve_is_whole_before_the_next_seed_begins(tmp_path, quick):
    command_line = CommandLine(found)
    carry_out(quick(CLUSTERS_STUDY), tmp_path, command_line)
    assert [run.seed for run in command_line.runs] == sorted(run.seed for run in command_line.runs)


def test_the_papers_noise_comes_before_ours(tmp_path, quick):
    command_line = CommandLine(found)
    carry_out(quick(NOISE_STUDY), tmp_path, command_line)
    ours = [run.group.startswith("clip") for run in command_line.runs]
    assert ours == sorted(ours)
    assert [run.seed for run in command_line.runs if run.group == "softmax-0.5"] == [0, 1, 2]


def test_exact_proportions_are_the_run_of_the_study_spss():
    assert degraded.degraded_run("spss", 2) == spss.proportions_run(2)
    assert NOISE_STUDY.root == CLUSTERS_STUDY.root == spss.STUDY.root


def test_only_the_noise_is_different():
    exact, noisy = degraded.degraded_run("spss", 0), degraded.degraded_run("clip-0.1", 0)
    assert set(noisy.settings) - set(exact.settings) == {
        "supervision={points: false, proportions: masks, noise: {sigma: 0.1, normalise: clip}}"
    }
