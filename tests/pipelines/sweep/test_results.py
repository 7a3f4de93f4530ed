import io

import pytest
from PIL import Image

from pipelines.config import load
from pipelines.sweep.plan import listed_points, trials
from pipelines.sweep.results import best, columns, figures, line, rows

GRID = "sweep.fields={labelling.pixels_per_image: [5, 10], loss.consistency: [0.0, 0.1]}"


@pytest.fixture
def plan():
    config = load("demo", [GRID, "sweep.seeds=[0, 1]"], verb="sweep")
    return config, trials(config, listed_points(config))


def outcomes(members, scores, seconds):
    return {
        trial.name: {"score": score, "seconds": cost}
        for trial, score, cost in zip(members, scores, seconds, strict=True)
        if score is not None
    }


def test_a_row_is_the_mean_and_deviation_over_seeds(plan):
    config, members = plan
    table = rows(members, outcomes(members, [0.1, 0.3, 0.4, 0.4, 0.5, None, None, None], [60] * 4 + [120] * 4))
    assert [row["point"]["labelling.pixels_per_image"] for row in table] == [5, 5, 10, 10]
    assert table[0]["score"] == pytest.approx(0.2)
    assert table[0]["sd"] == pytest.approx(0.1 * 2**0.5)
    assert (table[1]["sd"], table[1]["front"], table[0]["front"]) == (0.0, True, False)
    assert (table[2]["score"], table[2]["sd"], table[2]["finished"], table[2]["trials"]) == (0.5, None, 1, 2)
    assert (table[3]["score"], table[3]["seconds"], table[3]["front"]) == (None, None, False)
    # A point that lacks a seed does not win over one that has all.
    assert best(table) is table[1]
    assert line(table[1], chosen=True) == [
        "labelling.pixels_per_image=5, loss.consistency=0.1 *", "40.0 ± 0.0", "60 s", "2 of 2", "front",
    ]  # fmt: skip
    assert line(table[3], chosen=False)[1:] == ["-", "-", "0 of 2", ""]
    assert columns(config)[1] == "mIoU ± sd"


def test_points_that_differ_far_behind_are_two():
    long = [1.0] * 30
    fields = f"sweep.fields={{loss.class_weights: [{[*long, 2.0]}, {[*long, 3.0]}], training.epochs: [1, 2]}}"
    config = load("demo", [fields], verb="sweep")
    members = trials(config, listed_points(config))
    table = rows(members, outcomes(members, [0.1, 0.2, 0.3, 0.4], [60] * 4))
    assert [row["score"] for row in table] == [0.1, 0.2, 0.3, 0.4]
    assert "heatmap.png" in figures(config, table)


def test_of_equal_scores_the_cheaper_is_best(plan):
    _, members = plan
    table = rows(members, outcomes(members, [0.4] * 8, [90, 90, 80, 80, 70, 70, 60, 60]))
    assert best(table) is table[3]
    assert [row["front"] for row in table] == [False, False, False, True]


def test_stopped_trials_count_but_are_not_compared(plan):
    _, members = plan
    records = outcomes(members[:2], [0.5, 0.9], [60, 60])
    records[members[1].name] = {"score": 0.9, "stopped": True}
    table = rows(members, records)
    assert (table[0]["score"], table[0]["finished"], table[0]["stopped"]) == (0.5, 1, 1)
    assert line(table[0], chosen=False)[3] == "1 of 2, 1 stopped"


def test_diverged_and_invalid_trials_are_told_apart_and_never_best(plan):
    _, members = plan
    records = outcomes(members[:4], [0.5, 0.9, 0.2, 0.2], [60] * 4)
    records[members[1].name] = {"score": None, "diverged": True, "error": "the training has diverged"}
    records |= {trial.name: {"score": None, "invalid": True, "error": "cannot be"} for trial in members[4:6]}
    table = rows(members, records)
    assert [(row["score"], row["finished"], row["diverged"], row["invalid"]) for row in table[:3]] == [
        (0.5, 1, 1, 0), (0.2, 2, 0, 0), (None, 0, 0, 2),
    ]  # fmt: skip
    assert best(table) is table[1]
    assert line(table[0], chosen=False)[3] == "1 of 2, 1 diverged"
    assert line(table[2], chosen=False)[1:4] == ["-", "-", "0 of 2, 2 invalid"]


def test_no_score_has_no_best_and_no_picture(plan):
    config, members = plan
    assert best(rows(members, {})) is None
    assert figures(config, rows(members, {})) == {}


def test_two_fields_make_a_heat_map_and_one_does_not(plan):
    config, members = plan
    table = rows(members, outcomes(members, [0.1 * k for k in range(8)], [60] * 8))
    found = figures(config, table)
    assert set(found) == {"heatmap.png", "front.png"}
    assert all(Image.open(io.BytesIO(png)).size[0] > 400 for png in found.values())
    single = load("demo", ["sweep.fields={loss.point: [1.0, 2.0]}"], verb="sweep")
    members = trials(single, listed_points(single))
    assert set(figures(single, rows(members, outcomes(members, [0.1, 0.2], [60, 60])))) == {"front.png"}


def test_the_heat_map_is_of_loss_weight_over_budget_whatever_their_order(plan, monkeypatch: pytest.MonkeyPatch):
    config, members = plan
    drawn = {}
    monkeypatch.setattr("pipelines.sweep.results.heat_map", lambda cells, **names: drawn.update(names, cells=cells))
    figures(config, rows(members, outcomes(members, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4], [60] * 8)))
    assert (drawn["row_name"], drawn["column_name"]) == ("loss.consistency", "labelling.pixels_per_image")
    assert (drawn["rows"], drawn["columns"]) == (["0.0", "0.1"], ["5", "10"])
    assert [[round(cell, 6) for cell in row] for row in drawn["cells"]] == [[0.1, 0.3], [0.2, 0.4]]


def test_of_several_settings_of_the_questions_the_heat_map_is_over_the_budget(monkeypatch: pytest.MonkeyPatch):
    fields = (
        "sweep.fields={labelling.acquisition: [margin, entropy], loss.class_weights: [null, balanced], "
        "labelling.pixels_per_image: [5, 10], loss.consistency: [0.0, 0.1]}"
    )
    config = load("demo", [fields], verb="sweep")
    members = trials(config, listed_points(config))
    drawn = {}
    monkeypatch.setattr("pipelines.sweep.results.heat_map", lambda cells, **names: drawn.update(names, cells=cells))
    figures(config, rows(members, outcomes(members, [0.1] * 16, [60] * 16)))
    assert (drawn["row_name"], drawn["column_name"]) == ("loss.consistency", "labelling.pixels_per_image")
