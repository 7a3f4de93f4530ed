import io
import json

import pytest
from typer.testing import CliRunner

from pipelines import cli, settings
from pipelines.config import load, recipes
from pipelines.console import Console
from weakseg.errors import ConfigError


def said(call) -> tuple[dict, list[str]]:
    out = io.StringIO()
    result = call(Console(file=out))
    return result, out.getvalue().splitlines()


def test_every_setting_has_a_meaning():
    every = list(settings.settings())
    assert [one.name for one in every if not one.meaning.strip()] == []
    assert len({one.name for one in every}) == len(every)


def test_the_names_are_those_of_a_configuration():
    def leaves(value, prefix=""):
        for name, inner in value.items():
            yield f"{prefix}{name}"
            if isinstance(inner, dict):
                yield from leaves(inner, f"{prefix}{name}.")

    known = {one.name for one in settings.settings()}
    for recipe in recipes():
        fields = load(recipe, verb="config").model_dump(mode="json")
        fields["sweep"] = None  # the names of its fields are the user's
        assert set(leaves(fields)) <= known


def test_one_setting_a_section_and_all():
    found, (line,) = said(lambda console: settings.explain("training.lr", console))
    assert line == ("  training.lr (default 0.0005): Learning rate of all but the encoder. Takes a number above 0.")
    assert found == {
        "training.lr": {
            "meaning": "Learning rate of all but the encoder.",
            "expected": "a number above 0",
            "default": "0.0005",
            "required": False,
            "within": None,
        }
    }
    found, lines = said(lambda console: settings.explain("training.schedule", console))
    assert list(found)[:2] == ["training.schedule", "training.schedule.name"]
    assert len(lines) == len(found) == 5
    everything, _ = said(lambda console: settings.explain("all", console))
    assert everything.keys() == {one.name for one in settings.settings()}


def test_defaults_are_those_of_a_configuration():
    minimal = load("demo", verb="config").__class__.model_validate({"run": "a", "data": {"layout": "scenes"}})
    told = {one.name: one for one in settings.settings()}
    required = [name for name, one in told.items() if one.expected is not None and one.default is None]
    assert required == ["run", "data.layout", "sweep.fields"]
    for name, one in told.items():
        if one.expected is None or name in required:
            continue
        value = minimal.model_dump(mode="json")
        for part in name.split("."):
            value = None if value is None else value.get(part)
        if one.within is None:
            assert json.loads(one.default) == value, name
        else:
            assert value is None, name  # as the whole section is
            assert name.startswith(f"{one.within}.")
    assert (told["labelling.committee"].default, told["labelling.committee.passes"].within) == (
        "null",
        "labelling.committee",
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("epochs", "training.epochs"), ("training.epoch", "training.epochs"), ("datta", "data")]
)
def test_an_unknown_setting_names_the_closest(name: str, hint: str):
    with pytest.raises(ConfigError, match=rf"^--explain {name}: there is no such setting \(did you mean {hint}\?\)"):
        said(lambda console: settings.explain(name, console))


def test_the_recipes_are_listed_by_what_they_are():
    found, lines = said(settings.list_recipes)
    assert list(found) == recipes()
    assert found["folder"] == "Your own images"
    assert all(words and not words.endswith(".") for words in found.values())
    assert lines[0].startswith("camvid-coarse: CamVid from coarse labels")


def test_from_the_command_line():
    runner = CliRunner()
    told = runner.invoke(cli.app, ["config", "--explain", "seed", "--json"])
    assert told.exit_code == 0
    assert json.loads(told.stdout.splitlines()[-1])["seed"]["default"] == "0"
    listed = runner.invoke(cli.app, ["config"])
    assert listed.exit_code == 0
    assert "camvid-cpu: " in listed.stdout
    assert runner.invoke(cli.app, ["config", "--explain", "nothing"]).exit_code == 2
    for arguments in (["--set", "seed=1"], ["--explain", "seed", "--config", "demo"]):
        refused = runner.invoke(cli.app, ["config", *arguments])
        assert refused.exit_code == 2
        assert "--config" in refused.stderr
