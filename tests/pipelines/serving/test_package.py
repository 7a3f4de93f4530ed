import tomllib
from importlib.metadata import version
from pathlib import Path

from pipelines.serving import requirements
from pipelines.serving.package import LIBRARIES

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_model_asks_for_what_the_library_asks_for() -> None:
    declared = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    assert set(LIBRARIES) == {entry.split(">")[0].strip() for entry in declared}


def test_versions_are_the_installed_ones_and_can_be_installed() -> None:
    pinned = dict(line.split("==") for line in requirements())
    assert "ray" not in pinned
    for name, number in pinned.items():
        assert "+" not in number
        assert version(name).split("+")[0] == number
