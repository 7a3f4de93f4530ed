import json

import pytest

from benchmarks.engine import table
from benchmarks.engine.round import stages

COST = {"cpu": {"per_unit": 1.0, "per_run": 2.0, "start": 3.0}, "wall": {"per_unit": 1.0, "per_run": 2.0, "start": 3.0}}
RATIO = {"ratio": 0.987, "low": 0.951, "high": 1.012}


def compared(ours, baseline, **more):
    return {"aim": 0.95, "pairs": 7, "sizes": [1, 2], "cpu": RATIO, "wall": RATIO, ours: COST, baseline: COST, **more}


RESULTS = {
    "prepare": compared("weakseg_prepare", "multiprocessing_pool"),
    "train": compared(
        "weakseg_train",
        "plain_loop",
        losses={"time": 32.4, "memory": 17.5, "points": {"seconds": 0.002, "peak_mib": 10.0}},
    ),
    "score": compared("weakseg_score", "forward", published={"cpu": RATIO, "wall": RATIO}),
    "predict": compared("weakseg_predict", "bare_model"),
    "losses": {
        "terms": {
            "assignment": {
                "aim": 0.15,
                "step": "fcn16 with the term mask",
                "cpu": {"share": 0.0712, "low": 0.065, "high": 0.0781},
                "wall": {"share": 0.074, "low": 0.061, "high": 0.08},
                "peak_mib": {"with": 160.2, "without": 151.0},
            }
        }
    },
    "memory": {
        "limit": 1.1,
        "sizes": [128, 1280],
        **{stage: {"peak_mib": {"128": 1000.0, "1280": 1050.0}, "ratio": 1.05} for stage in ("prepare", "score")},
    },
    "plan": {
        "aim": {"seconds": 60.0, "mib": 295.4},
        "sizes": [100_000, 1_000_000],
        "1000000": {"seconds": 44.4, "mib": 123.4, "sources": 1_000_000, "chunks": 31_250},
    },
    "sweep": compared(
        "swept",
        "alone",
        overhead={"wall": {"per_unit": 6.54, "per_run": 9.0}, "cpu": {"per_unit": 8.0, "per_run": 1.0}},
    ),
    "annotation": {
        "aim": 50.0,
        "press": {"p50": 17.2, "p95": 31.4},
        "people": {
            "people": 4,
            "seconds": 60,
            "answers": 2400,
            "errors": 0,
            "lost": 0,
            "reply": {"p50": 4.0, "p95": 9.0},
            "memory_mib": [210.0, 211.0],
        },
    },
    "round": {
        "wall": 40.0,
        "rest": 25.0,
        "rounds": [
            {"train": {"wall": 30.0, "compute": 10.0, "rest": 20.0}},
            {
                "score": {"wall": 6.0, "compute": 1.0, "rest": 5.0},
                "train": {"wall": 34.0, "compute": 14.0, "rest": 20.0},
            },
        ],
    },
}


def test_every_benchmark_has_its_rows():
    assert table.ROWS.keys() == table.BENCHMARKS.keys() == RESULTS.keys()
    text = table.text(RESULTS)
    for words in (
        "0.99 [0.95, 1.01]",
        "32.4",
        "fcn16 step",
        "<= 15 %",
        "7.1 % [6.5, 7.8]",
        "1.05 of PSS",
        "25.0 s of 40.0 s",
        "<= 60 s, 295 MiB",
        "44 s, 123 MiB",
        "20.0 s of 32.0 s",
        "+6.5 s",
        "p50 17, p95 31 ms",
        "0 errors, 0 lost",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 120


def test_figures_of_other_benchmarks_are_kept(tmp_path):
    path = tmp_path / "engine.json"
    table.save({"prepare": {"aim": 1}, "train": {"aim": 2}}, path)
    table.save({"train": {"aim": 3}}, path)
    assert json.loads(path.read_text()) == {"prepare": {"aim": 1}, "train": {"aim": 3}}


def test_a_benchmark_is_measured_with_what_it_was_measured_on(monkeypatch):
    calls = []

    def fake(**options):
        calls.append(options)
        options["progress"]("half way")
        return {"aim": 0.5}

    monkeypatch.setitem(table.BENCHMARKS, "prepare", fake)
    lines: list[str] = []
    found = table.measure(["prepare"], pairs=3, sizes=None, progress=lines.append)
    assert found["prepare"]["aim"] == 0.5
    assert found["prepare"]["measured"]["machine"]["cores"] >= 1
    assert found["prepare"]["measured"]["versions"]["torch"] != "not installed"
    assert calls[0]["pairs"] == 3
    assert "sizes" not in calls[0]
    assert lines[0] == "prepare: half way"


def test_a_round_is_cut_at_its_steps():
    marks = [
        ("select", 0, 11.0),
        ("train", 0, 21.0),
        ("round", 0, 22.0),
        ("score", 1, 25.0),
        ("train", 1, 35.0),
        ("round", 1, 35.5),
        ("test", 1, 37.0),
    ]
    found = stages(marks, 10.0, [{"train": 4.0}, {"train": 6.0, "score": 1.0}], started=2.0, ended=40.0)
    assert found["before"] == 8.0
    assert found["after"] == pytest.approx(4.5)
    assert found["rounds"][0]["train"] == {"wall": 10.0, "compute": 4.0, "rest": 6.0}
    assert found["rounds"][1]["score"] == {"wall": 3.0, "compute": 1.0, "rest": 2.0}
    whole = 8.0 + 4.5 + sum(stage["wall"] for round in found["rounds"] for stage in round.values())
    assert whole == pytest.approx(38.0)
