"""What the README shows must work as it stands."""

import re
from pathlib import Path

import pytest

from pipelines.config import load, recipes
from pipelines.sweep.plan import planned

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_library_example_runs() -> None:
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "training.fit" in block]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["ask_N2"].shape == (10, 2)


def test_the_sweep_can_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "sweep:" in block]
    (tmp_path / "mine.yaml").write_text(example)
    (tmp_path / "weights").touch()
    monkeypatch.setenv("CAMVID", str(tmp_path))
    monkeypatch.setenv("WEAKSEG_SQUEEZENET", str(tmp_path / "weights"))
    config = load(str(tmp_path / "mine.yaml"), verb="sweep")
    assert (config.run, planned(config)) == ("mine", 27)


def test_every_recipe_is_named() -> None:
    for recipe in recipes():
        assert f"`{recipe}`" in README


def test_every_link_and_picture_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
