"""From a recipe or file and `--set` to a checked configuration."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.config import faults as told
from pipelines.config.base import combine, layers, origin
from pipelines.config.checks import broken_rules
from pipelines.config.document import is_file, no_home, override
from pipelines.config.root import Config
from pipelines.config.space import faults as sweep_faults
from weakseg.errors import ConfigError

_SECTIONS = [name for name in Config.model_fields if name not in ("run", "seed")]
Faults = dict[told.Path, str]
_LOOKING = ("status", "report", "config", "annotate")
_PATHS = [
    ("storage", "root"),
    ("data", "path"),
    ("model", "weights"),
    ("supervision", "proportions"),
    ("supervision", "coarse"),
]
_FILES = {
    "model.weights": ("imagenet",),
    "supervision.proportions": ("masks", "people"),
    "supervision.coarse": ("masks", "layout", "people"),
}
"""Fields that name a file, and what else they may say."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def load(source: str, overrides: Sequence[str] = (), *, verb: str = "active") -> Config:
    """Read and check a configuration.

    Args:
        source: A recipe's name, or the path or s3:// address of a YAML file, which may have a `base` (see
            :mod:`pipelines.config.base`).
        overrides: `section.field=value` each, the value in YAML.
        verb: What it is for. `status`, `report`, `annotate` and `config` only look: an environment variable in a path
            need not be set, the weights file need not exist. Only `active` asks, so the others take any number of
            rounds, and only `sweep` reads section `sweep`, all of whose points it wants to be valid.

    Returns:
        The configuration; `run` is the recipe's or file's name where it was not given.

    Raises:
        ConfigError: Everything that is wrong with it, one line per fault.
    """
    stack = layers(source)
    content = combine(stack)
    given: dict[str, Any] = {}
    lines = override(content, list(overrides))
    override(given, list(overrides))
    for name in _SECTIONS:
        # a section whose every line is commented out, but for one that may be null
        if content.get(name, ...) is None and Config.model_fields[name].default is not None:
            content[name] = {}
    if content.get("run") is None:
        content["run"] = re.sub(r"[^A-Za-z0-9._-]+", "-", stack[0].file.stem).strip("-._") or "run"
    config, faults = _check(content, _expand(content, strict=verb not in _LOOKING), verb)
    lines += [f"{faults[path]}{origin(path, stack, given)}" for path in sorted(faults, key=_rank)]
    if config is not None and not lines and verb == "sweep":
        trial = "active" if config.sweep is None else config.sweep.verb
        plain = config.model_dump(mode="json")
        lines = sweep_faults(config, lambda changes: _amended(plain, changes, trial)[1])
    if lines or config is None:
        raise ConfigError(lines)
    return config


def amend(config: Config, changes: Mapping[str, Any], *, verb: str = "active", strict: bool = True) -> Config:
    """A configuration with other values of some fields, checked as a whole.

    Args:
        config: The configuration.
        changes: Values by dotted field.
        verb: What it is for, as for :func:`load`.
        strict: Whether the files that it names must exist.

    Returns:
        Another configuration.

    Raises:
        ConfigError: Everything that is wrong with it, one line per fault.
    """
    amended, lines = _amended(config.model_dump(mode="json"), changes, verb, strict=strict)
    if amended is None:
        raise ConfigError(lines)
    return amended


def recorded(settings: Mapping[str, Any]) -> Config:
    """The configuration in a run's record, which was checked when the run was opened."""
    return Config.model_validate_json(json.dumps(settings))


def _amended(
    plain: Mapping[str, Any], changes: Mapping[str, Any], verb: str, *, strict: bool = True
) -> tuple[Config | None, list[str]]:
    """The configuration that values by dotted field make of another, None if it has faults; and these."""
    content = deepcopy(dict(plain))
    for name, value in changes.items():
        *above, field = name.split(".")
        target = content
        for part in above:
            if not isinstance(target.get(part), dict):
                target[part] = {}
            target = target[part]
        target[field] = value
    config, faults = _check(content, _expand(content, strict=strict), verb)
    return config, [faults[path] for path in sorted(faults, key=_rank)]


def _check(content: dict[str, Any], faults: Faults, verb: str) -> tuple[Config | None, Faults]:
    """Validate fields, then the rules between those that are valid."""
    config, found = _validate(content)
    faults = {**found, **faults}
    if config is None:
        # the rules are checked on what is left, so that one faulty field does not hide the fault of others
        rest = {**told.without(content, list(faults)), "run": "run"}
        data = rest.get("data")
        rest["data"] = {"layout": "scenes", **(data if isinstance(data, dict) else {})}
        config, _ = _validate(rest)
    if config is not None:
        faulty = {".".join(path) for path in faults}
        for fields, message in broken_rules(config, verb):
            if not any(_touches(field, faulty) for field in fields):
                faults[tuple(fields[0].split("."))] = f"{fields[0]}: {message}"
    return (None if faults else config), faults


def _validate(content: dict[str, Any]) -> tuple[Config | None, Faults]:
    """Pydantic's verdict. JSON's rules: lists are tuples, but text is no number and true is not 1."""
    try:
        return Config.model_validate_json(json.dumps(content, default=str)), {}
    except ValidationError as error:
        return None, told.validation_faults(error, Config, content)


def _expand(content: dict[str, Any], *, strict: bool) -> Faults:
    """Fill `~` and environment variables into the paths, in place; return the faults by field."""
    faults: Faults = {}
    for path in _PATHS:
        section, field = path
        text = told.at(content, path)
        if not isinstance(text, str):
            continue
        name = f"{section}.{field}"
        unset = [found for match in _VARIABLE.finditer(text) if (found := match[1] or match[2]) not in os.environ]
        if unset:
            if strict or field == "root":
                faults[path] = (
                    f"{name}: the environment variable {unset[0]} is not set (got {text}); "
                    f"export {unset[0]}=/path/to/it, or pass --set {name}=/path/to/it"
                )
            continue
        expanded = os.path.expandvars(text)
        if expanded.startswith("~"):
            try:
                expanded = str(Path(expanded).expanduser())
            except RuntimeError:
                faults[path] = f"{name}: {no_home(expanded)}"
                continue
        content[section][field] = expanded
        if name in ("storage.root", "data.path") and _ADDRESS.match(expanded) and not expanded.startswith("s3://"):
            faults[path] = f"{name}: expected a folder or s3://bucket/prefix, got {expanded}"
        words = _FILES.get(name)
        if strict and words is not None and expanded not in words and not is_file(Path(expanded)):
            faults[path] = f"{name}: expected null, {', '.join(words)} or a file, got {expanded}: no such file"
    return faults


def _touches(field: str, faulty: set[str]) -> bool:
    """Whether a field is faulty, or the section it is in, or a part of it."""
    parts = any(name.startswith(f"{field}.") for name in faulty) if "." in field else False
    return parts or any(field == name or field.startswith(f"{name}.") for name in faulty)


def _rank(path: told.Path) -> tuple[int, told.Path]:
    """Faults in the order of the sections, unknown ones first."""
    known = list(Config.model_fields)
    return (known.index(path[0]) if path[0] in known else -1, path)
