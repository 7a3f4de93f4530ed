from pathlib import Path

import pytest
import yaml

from pipelines.config import load
from pipelines.sweep.plan import chosen_config, listed_points, trials
from pipelines.sweep.recipe import recipe

FIELDS = "sweep: {fields: {loss.consistency: [0.0, 0.1], training.early_stopping: [null, {patience: 3}]}}\n"


def written(source: str, folder: Path, *settings: str) -> tuple[dict, bool]:
    """The recipe of a sweep's last trial, and whether it says what the trial is."""
    config = load(source, settings, verb="sweep")
    chosen = chosen_config(config, trials(config, listed_points(config))[-1])
    file = folder / "out" / "best.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(recipe(chosen, source=source, head="one\ntwo"))
    assert file.read_text().startswith("# one\n# two\n")
    return yaml.safe_load(file.read_text()), load(str(file)) == chosen


def test_of_a_recipe_it_says_what_the_point_changes(tmp_path: Path):
    content, same = written("demo-sweep", tmp_path)
    assert same
    assert content["base"] == "demo"
    assert content["loss"] == {"consistency": 0.1}
    assert "sweep" not in content
    assert "model" not in content


def test_of_a_file_it_needs_neither_the_file_nor_what_was_set(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text(f"base: demo\ntraining: {{lr: 0.5, augmentation: null}}\n{FIELDS}")
    content, same = written(str(file), tmp_path, "training.epochs=3", "run=mine")
    assert same
    assert (content["base"], content["run"][:5]) == ("demo", "mine-")
    assert content["training"] == {"epochs": 3, "lr": 0.5, "augmentation": None, "early_stopping": {"patience": 3}}


def test_without_a_recipe_below_it_says_all_that_is_not_default(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text(f"data: {{layout: scenes}}\nmodel: {{encoder: resnet18, weights: null}}\n{FIELDS}")
    content, same = written(str(file), tmp_path)
    assert same
    assert "base" not in content
    assert content["data"]["layout"] == "scenes"


def test_an_exported_path_stays_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("CAMVID", "WEAKSEG_SQUEEZENET"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "WEAKSEG_SQUEEZENET").write_bytes(b"x")
    content, same = written("camvid-cpu", tmp_path, "sweep.fields={training.lr: [0.1]}")
    assert same
    assert "path" not in content.get("data", {})
