import os
from pathlib import Path

import pytest

from pipelines.config import amend, load
from pipelines.storage import open_storage
from pipelines.sweep.plan import (
    chosen_config,
    listed_points,
    planned,
    pools,
    random_points,
    sweep_identity,
    trial_config,
    trials,
)
from weakseg.errors import ConfigError

GRID = "sweep.fields={loss.consistency: [0.0, 0.1], labelling.pixels_per_image: [5, 10]}"
DRAWN = (
    "sweep.fields={training.lr: {loguniform: [1e-4, 1e-2]}, model.dropout: {uniform: [0.1, 0.3]}, "
    "training.epochs: {randint: [2, 4]}, training.optimizer: [adam, sgd]}"
)


def sweep(*settings: str):
    return load("demo", settings, verb="sweep")


def drawn(trials: int, *settings: str):
    return sweep(DRAWN, "sweep.search=random", f"sweep.trials={trials}", *settings)


def test_names_are_fixed_by_sweep_point_and_seed():
    config = sweep(GRID, "sweep.seeds=[0, 7]", "run=mine")
    names = [trial.name for trial in trials(config, listed_points(config))]
    assert len(names) == len(set(names)) == planned(config, None) == 8
    assert names[:2] == ["mine-cfad8b0f-s0", "mine-cfad8b0f-s7"]
    other = sweep(GRID, "sweep.seeds=[7, 0]", "run=mine", "training.lr=0.1")
    assert {trial.name for trial in trials(other, listed_points(other))} == set(names)


def test_a_point_that_comes_twice_is_one_trial():
    config = sweep(GRID)
    point = {"loss.consistency": 0.0, "labelling.pixels_per_image": 5}
    assert len(trials(config, [point, dict(point)])) == 1


def test_a_trial_is_the_configuration_with_its_point_on_the_same_images():
    config = sweep(GRID, "sweep.seeds=[3]", "seed=1", "evaluate.test=true")
    trial = trials(config, listed_points(config))[3]
    wanted = chosen_config(config, trial)
    assert (wanted.run, wanted.seed, wanted.data.seed, wanted.sweep) == (trial.name, 3, 1, None)
    assert (wanted.loss.consistency, wanted.labelling.pixels_per_image) == (0.1, 10)
    assert wanted.evaluate.test
    assert chosen_config(sweep(GRID, "data.seed=9"), trial).data.seed == 9


def test_a_trial_runs_from_any_folder_and_leaves_the_test_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("masks").mkdir()  # no path: a word of supervision.proportions
    Path("w.safetensors").write_bytes(b"x")
    config = sweep(GRID, "model.weights=w.safetensors", "supervision.proportions=masks", "storage.root=here")
    ran = trial_config(config, trials(config, listed_points(config))[0], open_storage("here"))
    assert (ran.storage.root, ran.model.weights) == (str(tmp_path / "here"), str(tmp_path / "w.safetensors"))
    assert ran.supervision.proportions == "masks"
    assert not ran.evaluate.test
    assert os.path.isabs(ran.storage.root)  # noqa: PTH117 - S3 addresses are no paths


def test_random_points_are_within_bounds_and_do_not_change_when_there_are_more():
    few, many = random_points(drawn(5)), random_points(drawn(40))
    assert many[:5] == few
    assert random_points(drawn(5, "seed=1")) != few
    assert all(1e-4 <= point["training.lr"] <= 1e-2 and 0.1 <= point["model.dropout"] <= 0.3 for point in many)
    assert {point["training.epochs"] for point in many} == {2, 3, 4}
    assert {point["training.optimizer"] for point in many} == {"adam", "sgd"}
    below = sum(point["training.lr"] < 1e-3 for point in many)
    assert 10 <= below <= 30  # half of a loguniform's decades


def test_a_small_space_is_exhausted_without_repeating_itself():
    config = sweep(GRID, "sweep.search=random", "sweep.trials=20")
    points = listed_points(config)
    assert len(points) == 4
    assert len(trials(config, points)) == planned(config, None) == 4


TOGETHER = "sweep.fields={labelling.acquisition: [margin, random], labelling.committee: [null, {passes: 3}]}"


def test_random_points_that_break_a_rule_between_fields_are_drawn_anew():
    config = sweep(TOGETHER, "sweep.search=random", "sweep.trials=9", "model.dropout=0.2")
    points = [(point["labelling.acquisition"], point["labelling.committee"]) for point in listed_points(config)]
    assert len(points) == 3
    assert ("random", {"passes": 3}) not in points


def test_a_space_without_a_point_that_can_be_is_told_with_a_point_and_the_rule():
    config = sweep(TOGETHER, "sweep.search=random", "sweep.trials=3", "model.dropout=0.2")
    config = amend(config, {"labelling.committee": {"passes": 3}, "model.dropout": 0.2}, verb="sweep")
    impossible = {"labelling.acquisition": ["random"]}
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"fields": impossible})})
    with pytest.raises(ConfigError) as caught:
        listed_points(config)
    told = "sweep.fields: no point drawn can be run, such as labelling.acquisition=random: labelling.committee: only"
    assert str(caught.value).startswith(told)


def test_optunas_points_are_not_known_before():
    assert listed_points(sweep(GRID, "sweep.search=optuna", "sweep.trials=3")) is None


def test_a_point_that_cannot_be_run_is_told():
    config = sweep(GRID)
    (trial,) = trials(config, [{"training.lr": 0}])
    with pytest.raises(ConfigError, match="training.lr: expected a number above 0"):
        chosen_config(config, trial)


def changed(*settings: str) -> set[str]:
    before, after = sweep_identity(sweep(GRID), "pool"), sweep_identity(sweep(GRID, *settings), "pool")
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_what_would_change_a_trial_is_identity_and_what_is_swept_over_is_not():
    assert changed("training.lr=0.1") == {"training.lr"}
    assert changed("labelling.rounds=9") == {"labelling.rounds"}
    assert changed("stop.patience=2") == {"stop.patience"}
    assert changed("sweep.seeds=[0, 1]") == {"sweep.seeds"}
    assert changed("sweep.verb=train") == {"sweep.verb"}
    assert changed("sweep.fields.loss.point=[1.0]") == {"sweep.fields.loss.point", "loss.point"}
    assert changed("loss.consistency=0.7", "labelling.pixels_per_image=3") == set()
    assert changed("sweep.max_concurrent=1", "cluster.workers=1", "tracking.experiment=x") == set()


def test_one_pool_for_all_and_a_table_for_each_kind_of_superpixels():
    config = sweep("sweep.fields={superpixels.segments: [50, 60], loss.consistency: [0.1, 0.2]}")
    configs = [chosen_config(config, trial) for trial in trials(config, listed_points(config))]
    assert [one.superpixels.segments for one in pools(configs)] == [50, 60]
