import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from pipelines.config import Config, load, recipes
from weakseg.datasets import LAYOUTS
from weakseg.errors import ConfigError

TEMPLATE = "expected a field's name, got a list, mapping or date; if this is a template such as {{ x }}, fill it in"
MINIMAL = "data: {layout: scenes}\n"


def faults(source: str | Path, *overrides: str, verb: str = "active") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(str(source), overrides, verb=verb)
    return list(caught.value.faults)


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "my images.yaml"
    path.write_text(MINIMAL)
    return path


def test_a_file_is_named_after_itself_and_defaults_fill_the_rest(minimal: Path):
    config = load(str(minimal))
    assert config.run == "my-images"
    assert config.storage.root == "./weakseg-data"
    assert config.training.augmentation is not None
    assert config.training.augmentation.scale == (0.5, 2.0)
    with pytest.raises(ValidationError):
        config.seed = 3


def test_set_reads_values_as_yaml(minimal: Path):
    config = load(
        str(minimal),
        [
            "run=2024",
            "seed=7",
            "training.lr=1e-3",
            "training.augmentation=null",
            "data.size=[48, 64]",
            "data.splits={val: 0.2, test: 0.1}",
            "training.schedule.name=multistep",
            "training.schedule.milestones=[3,5]",
            "loss.class_weights=[1, 2.5]",
            "cluster.gpu=false",
        ],
    )
    assert (config.run, config.seed, config.training.lr) == ("2024", 7, 0.001)
    assert config.training.augmentation is None
    assert config.data.size == (48, 64)
    assert config.data.splits is not None
    assert config.data.splits.test == 0.1
    assert config.training.schedule.milestones == (3, 5)
    assert config.loss.class_weights == [1, 2.5]
    assert config.cluster.gpu is False


def test_all_faults_at_once_one_line_each_naming_the_field(minimal: Path):
    lines = faults(
        minimal,
        "training.lr=-1",
        "training.epochs=many",
        "training.epoch=3",
        "traning.epochs=3",
        "training.optimizer=admm",
        "cluster.workers=true",
        "labelling.error_rate=1.5",
        "supervision.points=false",
        "data.size=[64]",
        "data.path=/somewhere",
        "run=a/b",
        "nonsense",
        "seed=[1",
    )
    expected = [
        "--set nonsense: expected section.field=value",
        "--set seed=[1: line 1",
        "traning: unknown section or field (did you mean training?)",
        "run: expected a name",
        "data.path: expected null where data.layout is scenes",
        "data.size: expected null or [height, width] in pixels, each from 16 to 65535, got [64]",
        "supervision: expected at least one of points, masks, proportions, coarse, keypoints, got none",
        "training.epoch: unknown field (did you mean epochs?)",
        'training.epochs: expected a whole number from 1, got "many"',
        "training.lr: expected a number above 0, got -1",
        'training.optimizer: expected an optimiser (adam, sgd), got "admm" (did you mean adam?)',
        "labelling.error_rate: expected a share from 0 to 1, got 1.5",
        "cluster.workers: expected a whole number from 1, or [least, most], got true",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)
        assert "\n" not in line


def test_a_field_of_another_section_is_pointed_out(minimal: Path):
    assert "did you mean labelling.rounds?" in faults(minimal, "training.rounds=3")[0]


def test_a_field_with_several_kinds_of_value_gives_one_line(minimal: Path):
    assert faults(minimal, "loss.class_weights=[a]") == [
        'loss.class_weights: expected null, balanced or a list with one number from 0 per class, got ["a"]'
    ]


@pytest.mark.parametrize("value", ["3", "[1]", "text"])
def test_a_section_must_hold_fields(minimal: Path, value: str):
    assert faults(minimal, f"training.schedule={value}")[0].startswith(
        "training.schedule: expected a section of fields"
    )
    assert faults(minimal, f"training={value}")[0].startswith("training: expected a section of fields")


def test_an_empty_section_is_its_defaults(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {layout: scenes}\ntraining:\n  # epochs: 3\n")
    assert load(str(path)).training.epochs == 50


def test_missing_layout_names_the_layouts(tmp_path: Path):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert faults(path) == ["data: expected a section of fields, got nothing"]
    path.write_text("data: {size: [64, 64]}")
    (fault,) = faults(path)
    names = re.fullmatch(r"data\.layout: expected a layout \((.*)\), got nothing", fault)[1].split(", ")
    assert sorted(names) == sorted(LAYOUTS)


def test_faulty_files(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("data: [")
    assert faults(path)[0].startswith(f"{path}: line 1, column 8: not valid YAML")
    path.write_text("seed: 1\nseed: 2\n")
    assert "seed is given twice" in faults(path)[0]
    path.write_text("data:\n  layout: folder\n  path: {{ photos }}\n")
    assert faults(path) == [f"{path}: line 3, column 10: not valid YAML: {TEMPLATE}"]
    path.write_text("- 1")
    assert "expected sections" in faults(path)[0]
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in faults(path)[0]
    assert faults(tmp_path / "none.yaml")[0].startswith("--config: no such file")


@pytest.mark.parametrize("value", ["{{ x }}", "{[a]: b}", "{2026-11-21: b}"])
def test_a_template_that_nobody_filled_is_told_by_its_setting(minimal: Path, value: str):
    assert faults(minimal, f"data.path={value}", "training.lr=-1") == [
        f"--set data.path={value}: line 1, column 2: not valid YAML: {TEMPLATE}",
        "training.lr: expected a number above 0, got -1",
    ]


def test_unknown_recipe_lists_the_recipes():
    (line,) = faults("camvid-cpus")
    assert "unknown recipe camvid-cpus (did you mean camvid-cpu?)" in line
    assert f"; recipes: {', '.join(recipes())}; or give a YAML file" in line


def test_variables_in_paths(minimal: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    own = ["data.layout=camvid", "data.path=$CAMVID/x", "model.weights=${PRETRAINED}", "storage.root=~/w"]
    lines = faults(minimal, *own)
    assert [line.split(":")[0] for line in lines] == ["data.path", "model.weights"]
    assert "the environment variable CAMVID is not set" in lines[0]
    assert "export CAMVID=/path/to/it, or pass --set data.path=/path/to/it" in lines[0]

    assert load(str(minimal), own, verb="status").data.path == "$CAMVID/x"  # looking needs no data

    weights = tmp_path / "weights.safetensors"
    monkeypatch.setenv("CAMVID", "/data/camvid")
    monkeypatch.setenv("PRETRAINED", str(weights))
    assert faults(minimal, *own) == [f"model.weights: expected null, imagenet or a file, got {weights}: no such file"]
    weights.touch()
    config = load(str(minimal), own)
    assert config.data.path == "/data/camvid/x"
    assert config.model.weights == str(weights)
    assert config.storage.root == str(Path.home() / "w")
    monkeypatch.setenv("BUCKET", "pools")
    assert load(str(minimal), [*own, "storage.root=s3://$BUCKET/a~b"]).storage.root == "s3://pools/a~b"


def test_only_one_settings_value_per_name_survives_a_round_trip(minimal: Path):
    config = load(str(minimal))
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("recipe", recipes())
def test_what_config_prints_is_the_same_configuration(recipe: str, tmp_path: Path):
    config = load(recipe, verb="config")
    printed = tmp_path / "printed.yaml"
    printed.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load(str(printed), verb="config") == config


def test_a_section_that_may_be_null_is_null_where_every_line_is_commented_out(minimal: Path):
    assert load(str(minimal), ["sweep=null"]).sweep is None
    assert load("demo-sweep", ["sweep=null"]).sweep is None


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("data.path=~nobody-here/x", "data.path: there is no user nobody-here (got ~nobody-here/x); write ~/ for"),
        ("storage.root=~nobody-here", "storage.root: there is no user nobody-here"),
        (f"model.weights={'x' * 300}", "model.weights: expected null, imagenet or a file, got x"),
        ("storage.root=gs://bucket/x", "storage.root: expected a folder or s3://bucket/prefix, got gs://bucket/x"),
        ("storage.root=s3:/bucket/x", "storage.root: expected a folder or s3://bucket/prefix, got s3:/bucket/x"),
        ("data.path=https://host/x", "data.path: expected a folder or s3://bucket/prefix, got https://host/x"),
        ("data=&a {layout: *a}", "--set data=&a {layout: *a}: not valid YAML: an alias stands inside what it names"),
        (r'run="\ud800"', r'--set run="\ud800": not valid YAML: half a character'),
    ],
)
def test_values_that_no_path_or_text_can_be(minimal: Path, setting: str, line: str):
    with pytest.raises(ConfigError) as raised:
        load(str(minimal), [setting])
    assert raised.value.faults[0].startswith(line)


def test_a_config_that_no_file_can_be():
    with pytest.raises(ConfigError, match="^--config: there is no user nobody-here"):
        load("~nobody-here/x.yaml")
    with pytest.raises(ConfigError, match="^--config: no such file: x"):
        load(f"{'x' * 300}.yaml")


@pytest.mark.parametrize("name", ["010", "007", "0x10", "1_000", "12", "1.50", "2024-01-02", "1e3", "true"])
def test_a_run_is_named_as_it_is_written(name: str, tmp_path: Path):
    assert load("demo", [f"run={name}"]).run == name
    file = tmp_path / "some.yaml"
    file.write_text(f"base: demo\nrun: {name}\n")
    assert load(str(file)).run == name


def test_a_time_is_no_name():
    with pytest.raises(ConfigError, match="run: expected a name .*, got .1:30"):
        load("demo", ["run=1:30"])
