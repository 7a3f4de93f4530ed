from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.config import load
from pipelines.config.base import combine, layers
from pipelines.storage import open_storage
from weakseg.errors import ConfigError, ResourceError

TEAM = """
run: team
seed: 3
data: {layout: scenes, images: 9}
training:
  epochs: 7
  schedule: {name: multistep, milestones: [2, 4], gamma: 0.5}
loss:
  class_weights: [1, 2]
"""


@pytest.fixture
def write(tmp_path: Path):
    def file(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    file("team.yaml", TEAM)
    return file


def fault(source: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(source, overrides)
    (line,) = caught.value.faults
    assert "\n" not in line
    return line


def test_sections_merge_field_by_field_at_every_depth(write):
    config = load(write("own.yaml", "base: team.yaml\ntraining: {lr: 0.1, schedule: {gamma: 0.2}}\n"))
    assert (config.seed, config.data.images, config.training.epochs, config.training.lr) == (3, 9, 7, 0.1)
    schedule = config.training.schedule
    assert (schedule.name, schedule.milestones, schedule.gamma) == ("multistep", (2, 4), 0.2)


def test_lists_and_nulls_replace(write):
    own = "base: team.yaml\nseed: 0\nloss: {class_weights: [3]}\n"
    own += "training: {augmentation: null, schedule: {milestones: [5]}}\n"
    config = load(write("own.yaml", own))
    assert config.loss.class_weights == [3]
    assert config.training.schedule.milestones == (5,)
    assert config.training.augmentation is None
    assert config.seed == 0


def test_a_value_replaces_a_section_and_a_section_a_value(write):
    write("plain.yaml", "data: {layout: scenes}\ntraining: {augmentation: null, early_stopping: {patience: 3}}\n")
    own = "base: plain.yaml\ntraining: {augmentation: {flip: 0.25}, early_stopping: null}\n"
    training = load(write("own.yaml", own)).training
    assert training.augmentation is not None
    assert training.augmentation.flip == 0.25
    assert training.early_stopping is None


def test_a_section_without_fields_changes_nothing(write):
    assert load(write("own.yaml", "base: team.yaml\ntraining:\n  # epochs: 3\n")).training.epochs == 7


def test_the_run_is_named_after_the_file_and_never_by_the_base(write):
    assert load(write("own.yaml", "base: team.yaml\n")).run == "own"
    assert load(write("own.yaml", "base: team.yaml\nrun: mine\n")).run == "mine"


def test_bases_have_bases_and_paths_are_relative_to_their_file(write, monkeypatch, tmp_path):
    write("deep/middle.yaml", "base: ../team.yaml\ntraining: {epochs: 8, batch_size: 2}\n")
    write("own.yaml", "base: deep/middle.yaml\ntraining: {batch_size: 3}\n")
    monkeypatch.chdir(tmp_path)
    training = load("./own.yaml").training
    assert (training.epochs, training.batch_size, training.schedule.gamma) == (8, 3, 0.5)


def test_a_base_may_be_a_recipe_even_of_the_same_name(write):
    config = load(write("demo.yaml", "base: demo\nlabelling: {rounds: 9}\n"))
    assert (config.run, config.labelling.rounds, config.data.images) == ("demo", 9, 80)


def test_set_is_laid_over_all(write):
    own = write("own.yaml", "base: team.yaml\ntraining: {epochs: 8}\n")
    assert load(own, ["training.epochs=9", "training.schedule.gamma=0.9"]).training.epochs == 9


def test_the_files_content_is_left_as_it_was(write):
    stack = layers(write("own.yaml", "base: team.yaml\n"))
    combine(stack)["training"]["schedule"]["milestones"].append(6)
    assert combine(stack)["training"]["schedule"]["milestones"] == [2, 4]


def test_config_prints_what_comes_out_without_the_base(write):
    own = write("own.yaml", "base: team.yaml\n")
    printed = yaml.safe_load(CliRunner().invoke(app, ["config", "--config", own]).stdout)
    assert "base" not in printed
    assert (printed["run"], printed["training"]["epochs"]) == ("own", 7)


def test_a_missing_base_is_named_with_the_file_that_wants_it(write, tmp_path: Path):
    own = write("deep/own.yaml", "base: teem.yaml\n")
    assert fault(own) == f"{own}: base: no such file: teem.yaml (looked in {tmp_path / 'deep'})"
    own = write("own.yaml", "base: camvid-pixelpik\n")
    assert fault(own).startswith(
        f"{own}: base: unknown recipe camvid-pixelpik (did you mean camvid-pixelpick?); recipes: "
    )


@pytest.mark.parametrize(("value", "shown"), [("3", "3"), ("[team.yaml]", "['team.yaml']"), ("''", "''")])
def test_a_base_is_one_name(write, value: str, shown: str):
    own = write("own.yaml", f"base: {value}\n")
    assert fault(own) == f"{own}: base: expected a recipe's name or the path of a YAML file, got {shown}"


def test_no_base_at_all_is_null(write):
    assert load(write("own.yaml", "base:\ndata: {layout: scenes}\n")).run == "own"


@pytest.mark.s3
def test_a_file_and_its_base_may_lie_in_a_bucket(write, s3_root: str):
    storage = open_storage(s3_root)
    storage.write_bytes("runs/sw/best.yaml", b"base: ../team.yaml\nrun: sw-1\ntraining: {lr: 0.1}\n")
    storage.write_bytes("runs/team.yaml", TEAM.encode())
    config = load(f"{s3_root}/runs/sw/best.yaml", ["seed=4"])
    assert (config.run, config.seed, config.training.lr, config.training.epochs) == ("sw-1", 4, 0.1, 7)
    assert load(write("own.yaml", f"base: {s3_root}/runs/team.yaml\n")).run == "own"
    storage.write_bytes("of-a-recipe.yaml", b"base: demo\ntraining: {epochz: 1}\n")
    assert fault(f"{s3_root}/of-a-recipe.yaml").startswith("training.epochz: unknown field")
    storage.write_bytes("broken.yaml", b"data: [")
    assert fault(f"{s3_root}/broken.yaml").startswith(f"{s3_root}/broken.yaml: line 1")
    assert fault(f"{s3_root}/none.yaml") == f"--config: no such file: {s3_root}/none.yaml"
    storage.write_bytes("itself.yaml", b"base: itself.yaml\n")
    assert f"({s3_root}/itself.yaml -> {s3_root}/itself.yaml)" in fault(f"{s3_root}/itself.yaml")
    with pytest.raises(ResourceError, match=r"--config s3://no-such-bucket-here/a.yaml: there is no such bucket"):
        load("s3://no-such-bucket-here/a.yaml")


def test_a_circle_is_told_with_all_its_files(write, tmp_path: Path):
    own = write("own.yaml", "base: middle.yaml\n")
    middle, last = write("middle.yaml", "base: last.yaml\n"), write("last.yaml", "base: ./middle.yaml\n")
    assert fault(own) == (
        f"{last}: base: a file cannot be its own base ({own} -> {middle} -> {last} -> {middle}); "
        "take one of these bases out"
    )
    itself = write("itself.yaml", "base: itself.yaml\n")
    assert f"({itself} -> {itself})" in fault(itself)


def test_a_broken_base_names_itself(write, tmp_path: Path):
    broken = write("broken.yaml", "data: [")
    assert fault(write("own.yaml", "base: broken.yaml\n")).startswith(f"{broken}: line 1, column 8: not valid YAML")


def test_faults_name_the_field_and_the_base_that_it_is_from(write, tmp_path: Path):
    team = write("team.yaml", "data: {layout: scenes}\ntraining: {epoch: 3, lr: -1}\n")
    own = write("own.yaml", "base: team.yaml\ntraining: {epochs: 0}\n")
    with pytest.raises(ConfigError) as caught:
        load(own, ["training.lr=-2"])
    unknown, epochs, lr = caught.value.faults
    assert unknown.startswith("training.epoch: unknown field (did you mean epochs?)")
    assert unknown.endswith(f" (from the base {team})")
    assert epochs == "training.epochs: expected a whole number from 1, got 0"
    assert lr == "training.lr: expected a number above 0, got -2"


def test_a_rule_that_a_bases_setting_breaks_names_the_base(write):
    own = write("own.yaml", "base: camvid-pixelpick\ntraining: {schedule: {name: poly}}\n")
    line = fault(own, "data.path=x")
    assert line.startswith("training.schedule.milestones: only counts for multistep; remove it for poly")
    assert line.endswith(" (from the base camvid-pixelpick)")
    assert load(own, ["data.path=x", "training.schedule.milestones=[]"]).training.schedule.gamma == 0.1


def test_set_cannot_give_a_base(write):
    assert fault("demo", "base=team.yaml") == (
        "--set base=team.yaml: only a file has a base; write base: team.yaml at its top"
    )


def test_a_misspelt_base_is_recognised(write):
    assert fault(write("own.yaml", "bases: team.yaml\ndata: {layout: scenes}\n")).startswith(
        "bases: unknown section or field (did you mean base?); expected one of base, run, seed,"
    )
