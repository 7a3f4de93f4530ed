import json

from json_files import JsonFiles

from pipelines.config import load
from pipelines.sweep.search import ask, batches

FIELDS = "sweep.fields={loss.consistency: {uniform: [0.0, 1.0]}, training.optimizer: [adam, sgd]}"


def sweep(trials: int, *settings: str):
    return load("demo", [FIELDS, "sweep.search=optuna", f"sweep.trials={trials}", *settings], verb="sweep")


def good(point) -> float:
    return 1 - abs(point["loss.consistency"] - 0.3)


def test_points_are_written_down_before_they_are_run_and_the_last_batch_is_shorter():
    files, seen = JsonFiles(once=True), []
    for batch in batches(sweep(5), files, size=2, score=good):
        assert json.loads(files.kept[f"points/{len(seen):04d}.json"]) == batch
        seen.append(len(batch))
    assert seen == [2, 2, 1]


def test_a_killed_sweep_goes_on_with_the_same_points():
    whole = [point for batch in batches(sweep(9), JsonFiles(once=True), size=3, score=good) for point in batch]
    files = JsonFiles(once=True)
    first = batches(sweep(9), files, size=3, score=good)
    next(first), next(first)
    # Another size, as on another cluster: what is written down stays.
    again = [point for batch in batches(sweep(9), files, size=3, score=good) for point in batch]
    assert again == whole
    other = [batch for batch in batches(sweep(9), files, size=1, score=lambda point: None)]
    assert [point for batch in other for point in batch] == whole


def test_more_trials_go_on_from_those_there_are():
    files = JsonFiles(once=True)
    few = [point for batch in batches(sweep(4), files, size=4, score=good) for point in batch]
    more = [point for batch in batches(sweep(6), files, size=4, score=good) for point in batch]
    assert more[:4] == few
    assert len(more) == 6
    assert [point for batch in batches(sweep(3), files, size=4, score=good) for point in batch] == few[:3]


def test_it_learns_from_what_it_is_told():
    told = [({"loss.consistency": k / 30, "training.optimizer": "sgd"}, good({"loss.consistency": k / 30}))
            for k in range(30)]  # fmt: skip
    asked = [point for batch in range(6) for point in ask(sweep(50), told, 2, batch=batch)]
    off = sum(abs(point["loss.consistency"] - 0.3) for point in asked) / 12
    assert off < 0.2  # uniform points are 0.29 off on average
    assert asked[:2] == ask(sweep(50), told, 2, batch=0)
    assert len({point["loss.consistency"] for point in asked}) == 12


def test_failed_points_and_values_that_are_lists_are_told_too():
    fields = "sweep.fields={loss.class_weights: [null, balanced, [1, 2]], training.epochs: {randint: [3, 4]}}"
    config = load("demo", [fields, "sweep.search=optuna", "sweep.trials=9"], verb="sweep")
    told = [({"loss.class_weights": [1, 2], "training.epochs": 3}, None)] * 12
    for point in ask(config, told, 6, batch=1):
        assert point["loss.class_weights"] in (None, "balanced", [1, 2])
        assert point["training.epochs"] in (3, 4)
        assert type(point["training.epochs"]) is int
