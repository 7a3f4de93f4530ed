"""What the README shows must work as it stands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stored_run
from PIL import Image

from pipelines.config import load, recipes
from pipelines.sweep.plan import listed_points, trials
from weakseg.datasets.classes import Classes
from weakseg.supervision import read_polygons, read_proportions

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_library_example_runs() -> None:
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "training.fit" in block]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["ask_N2"].shape == (10, 2)


def test_losses_on_a_network_of_ones_own() -> None:
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import losses" in block]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["network"].weight.grad.abs().sum() > 0


def test_a_folder_and_proportions_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "open_layout" in block]
    images = tmp_path / "my-images" / "images"
    images.mkdir(parents=True)
    for name in "abcdefgh":
        Image.new("RGB", (48, 36), (90, 120, 30)).save(images / f"{name}.png")
    (images.parent / "classes.yaml").write_text(
        "classes: [{name: soil, color: '#000000'}, {name: crop, color: '#00ff00'}]"
    )
    (images.parent / "train.txt").write_text("a\nb\n")
    (images.parent / "val.txt").write_text("\n".join("cdefgh"))
    (tmp_path / "proportions.csv").write_text("image_id,soil,crop\nb,0.25,0.75\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    first, second = names["examples"]
    assert (first.image_id, first.proportions_C, first.image_HW3.shape) == ("a", None, (360, 480, 3))
    assert second.proportions_C.tolist() == [0.25, 0.75]


def test_files_of_labels_are_as_shown(tmp_path: Path) -> None:
    (table,) = re.findall(r"```\n(image_id,road.*?)```", README, re.DOTALL)
    (drawn,) = re.findall(r'```\n(\{"images".*?)```', README, re.DOTALL)
    (tmp_path / "a.csv").write_text(table)
    (tmp_path / "a.json").write_text(drawn)
    shares = read_proportions(tmp_path / "a.csv", classes=["road", "building", "sky"], image_ids=["street/0001"])
    assert shares["proportions"][0].as_py() == pytest.approx([0.4, 0.35, 0.25])
    assert shares["seconds"].to_pylist() == [18]
    classes = Classes(("road", "sky"), ((128, 128, 128), (0, 0, 255)))
    polygons = read_polygons(tmp_path / "a.json", classes=classes, image_ids=["street/0001"])
    assert (polygons["annotator"].to_pylist(), polygons["seconds"].to_pylist()) == (["anna"], [35])


def test_the_sweep_can_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "sweep:" in block]
    (tmp_path / "mine.yaml").write_text(example)
    (tmp_path / "weights").touch()
    monkeypatch.setenv("CAMVID", str(tmp_path))
    monkeypatch.setenv("WEAKSEG_SQUEEZENET", str(tmp_path / "weights"))
    config = load(str(tmp_path / "mine.yaml"), verb="sweep")
    assert (config.run, len(trials(config, listed_points(config) or []))) == ("mine", 27)


def commands() -> list[list[str]]:
    """The words of every command of ours on a recipe that trains: verb, `--config`, NAME, and settings."""
    text = re.sub(r"\\?\n +(?=--set |python -m pipelines )", " ", README)
    lines = re.findall(r"(?:weakseg|python -m pipelines) ((?:active|train|sweep) --config [^`#\n]*)", text)
    return [words for words in map(shlex.split, lines) if words[2] in recipes()]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_on_a_recipe_can_begin(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMVID", str(tmp_path))
    verb, _, name, *rest = words
    assert set(rest[::2]) <= {"--set"}
    load(name, rest[1::2], verb=verb)


def test_commands_for_a_cluster_are_among_them() -> None:
    assert sum("cluster.workers" in " ".join(words) for words in commands()) == README.count("cluster.workers=") - 1


def test_mlflows_own_commands_are_told_where_the_model_is(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> None:
    (export,) = re.findall(r"^export MLFLOW_TRACKING_URI=sqlite:\S+", README, re.MULTILINE)
    commands = re.findall(r"`(mlflow [^`]*models:/scenes@champion[^`]*)`", README.partition(export)[2])
    assert len(commands) == README.count("`mlflow ")
    (download,) = [command for command in commands if "artifacts download" in command]
    root, _ = stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)
    (tmp_path / "weakseg-data").mkdir()
    shutil.copy(root / "mlflow.db", tmp_path / "weakseg-data")
    subprocess.run(
        ["bash", "-c", f"{export}; {download.replace('onnx/model.onnx', 'MLmodel')}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=True,
    )
    assert "python_function" in (tmp_path / "MLmodel").read_text()


def test_every_recipe_is_named() -> None:
    for recipe in recipes():
        assert f"`{recipe}`" in README


def test_every_link_and_picture_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
