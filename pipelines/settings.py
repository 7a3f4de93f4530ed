"""What can be set and what it means, in words: read off the sections' own documentation and the recipes' heads."""

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipelines.config import Config, recipes
from pipelines.config.document import RECIPES, closest
from pipelines.config.faults import expected, section
from weakseg.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.console import Console

_ATTRIBUTE = re.compile(r"    (\w+): (.*)")


@dataclass(frozen=True)
class Setting:
    """A field of the configuration, or a section of fields.

    Attributes:
        name: Dotted, from its section.
        meaning: What it is for.
        expected: What it takes; None = a section that is always there.
        default: What it is where nothing is said, as YAML; None = it must be given, or is such a section.
        within: The section around it that is null by default: without it there is no such setting.
    """

    name: str
    meaning: str
    expected: str | None = None
    default: str | None = None
    within: str | None = None


def settings(model: type[BaseModel] = Config, prefix: str = "", within: str | None = None) -> Iterator[Setting]:
    """All fields of the configuration, a section before what it holds.

    Args:
        model: Where to begin.
        prefix: What its fields' names begin with.
        within: The section around it that is null by default.
    """
    told = _attributes(model)
    for name, field in model.model_fields.items():
        inner = section(model, name)
        if inner is None:
            default = None if field.default is PydanticUndefined else _yaml(field.default)
            yield Setting(f"{prefix}{name}", told.get(name, ""), expected(field), default, within)
            continue
        full, meaning = f"{prefix}{name}", told.get(name) or _summary(inner)
        if field.default is None:
            yield Setting(full, meaning, expected(field), "null", within)
            yield from settings(inner, f"{full}.", full)
        else:
            yield Setting(full, meaning, within=within)
            yield from settings(inner, f"{full}.", within)


def tell(source: str | None, overrides: Sequence[str] | None, name: str | None, console: "Console") -> dict[str, Any]:
    """What the verb `config` says beside a configuration: what settings mean, or which recipes there are.

    Args:
        source: Must not be given beside a name.
        overrides: Must not be given.
        name: As for :func:`explain`; None = the recipes.
        console: Where to print.

    Returns:
        What :func:`explain` or :func:`list_recipes` does.

    Raises:
        ConfigError: Something is given that would not be looked at, or there is no such setting.
    """
    beside = [option for option, there in (("--config", source is not None), ("--set", bool(overrides))) if there]
    if beside and name is not None:
        raise ConfigError([f"--explain tells of every configuration alike: leave out {' and '.join(beside)}"])
    if beside:
        raise ConfigError(["--set changes the settings of a configuration: name it with --config"])
    return list_recipes(console) if name is None else explain(name, console)


def explain(name: str, console: "Console") -> dict[str, Any]:
    """Print what settings mean: the verb `config --explain`.

    Args:
        name: A field, a section, or `all`.
        console: Where to print.

    Returns:
        By dotted name: meaning, expected, default, whether it is required, and within which section that may be null.

    Raises:
        ConfigError: There is no such field.
    """
    every = list(settings())
    found = [one for one in every if name in ("all", one.name) or one.name.startswith(f"{name}.")]
    if not found:
        known = [one.name for one in every]
        near = [full for full in known if full.rpartition(".")[2] == name]
        hint = f" (did you mean {near[0]}?)" if near else closest(name, known)
        raise ConfigError([f"--explain {name}: there is no such setting{hint}; all shows all of them"])
    for one in found:
        if one.expected is None:
            console.line(f"{one.name}: {one.meaning}")
        else:
            given = "must be given" if one.default is None else f"default {one.default}"
            given += f" where {one.within} is set" if one.within else ""
            console.line(f"  {one.name} ({given}): {one.meaning} Takes {one.expected}.")
    return {
        one.name: {
            "meaning": one.meaning,
            "expected": one.expected,
            "default": one.default,
            "required": one.expected is not None and one.default is None,
            "within": one.within,
        }
        for one in found
    }


def list_recipes(console: "Console") -> dict[str, Any]:
    """Print the recipes and what each is: the verb `config` without a configuration.

    Args:
        console: Where to print.

    Returns:
        By name, the first sentence of its head.
    """
    found = {name: _first_sentence((RECIPES / f"{name}.yaml").read_text()) for name in recipes()}
    for name, words in found.items():
        console.line(f"{name}: {words}")
    console.line("all settings of one: weakseg config --config NAME; what they mean: weakseg config --explain all")
    return found


def print_config(config: Config, console: "Console") -> dict[str, Any]:
    """Print a configuration as YAML: the verb `config`.

    Args:
        config: The configuration.
        console: Where to print.

    Returns:
        The configuration by section.
    """
    fields = config.model_dump(mode="json")
    console.line(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip())
    return fields


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """What a section's documentation says of each of its fields."""
    lines = (inspect.getdoc(model) or "").partition("Attributes:\n")[2].splitlines()
    told: dict[str, str] = {}
    for line in lines:
        begun = _ATTRIBUTE.fullmatch(line)
        if begun:
            told[begun[1]] = begun[2]
        elif told:
            told[list(told)[-1]] += f" {line.strip()}"
    return told


def _summary(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _first_sentence(recipe: str) -> str:
    head = takewhile(lambda line: line.startswith("# "), recipe.splitlines())
    return re.split(r"(?<=[^.]{3})\.(?: |$)", " ".join(line[2:] for line in head))[0]
