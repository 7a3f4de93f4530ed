"""What is wrong with a configuration, one line per field."""

import json
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipelines.config.document import closest

Path = tuple[str, ...]

Rule = tuple[tuple[str, ...], str]
"""Of a rule that is broken, the dotted fields that it reads, the one to blame first, and what is wrong with it."""


def validation_faults(error: ValidationError, model: type[BaseModel], content: dict[str, Any]) -> dict[Path, str]:
    """Pydantic's errors as one line per field.

    Args:
        error: What validation raised.
        model: The model that was validated.
        content: What it was given.

    Returns:
        Lines by field path. Errors of several members of one field's type become one line.
    """
    faults: dict[Path, str] = {}
    for item in error.errors(include_url=False, include_context=False):
        path, owner = _field(model, item["loc"])
        if path not in faults:
            faults[path] = f"{'.'.join(path)}: {_line(path, owner, item['type'], model, content)}"
    return faults


def at(content: Any, path: Path) -> Any:
    """The value at a path; None where there is none."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def without(content: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
    """A copy of a configuration without some of its fields."""
    copy = {name: dict(value) if isinstance(value, dict) else value for name, value in content.items()}
    for path in paths:
        target: Any = copy
        for name in path[:-1]:
            if isinstance(target.get(name), dict):
                target[name] = dict(target[name])
                target = target[name]
        target.pop(path[-1], None)
    return copy


def show(value: Any) -> str:
    """A value as YAML would have it, cut to a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _field(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[Path, type[BaseModel]]:
    """The named fields of an error's place, and the model that owns the last one.

    Places inside a field (members of a list or of a union) are left out.
    """
    path: list[str] = []
    owner = model
    inner: type[BaseModel] | None = model
    for name in loc:
        if inner is None or not isinstance(name, str):
            break
        path.append(name)
        owner = inner
        inner = section(inner, name)
    return tuple(path), owner


def section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of a field that is a section, None for any other field."""
    if name not in model.model_fields:
        return None
    annotation = model.model_fields[name].annotation
    members = [annotation, *(member for member in get_args(annotation) if member is not NoneType)]
    return next((member for member in members if isinstance(member, type) and issubclass(member, BaseModel)), None)


def _line(path: Path, owner: type[BaseModel], kind: str, model: type[BaseModel], content: dict[str, Any]) -> str:
    """What follows the field's name in a fault."""
    name = path[-1]
    if kind == "extra_forbidden" and name not in owner.model_fields:
        return _unknown(name, owner, model)
    field = owner.model_fields[name]
    value = at(content, path)
    if kind == "missing" and value is None:  # not a missing member of a list
        return f"expected {expected(field)}, got nothing"
    return f"expected {expected(field)}, got {show(value)}{closest(str(value), _choices(field))}"


def expected(field: FieldInfo) -> str:
    """What a field takes, in words."""
    words, known = field.description or "another value", _choices(field)
    return f"{words} ({', '.join(known)})" if known else words


def _choices(field: FieldInfo) -> list[str]:
    """The words that a field takes, if it takes nothing else."""
    return [str(member) for member in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []


def _unknown(name: str, owner: type[BaseModel], model: type[BaseModel]) -> str:
    """The fault of a name that is no field."""
    known = [*(["base"] if owner is model else []), *owner.model_fields]
    elsewhere = [".".join(path) for path in paths(model) if path[-1] == name]
    hint = f" (did you mean {elsewhere[0]}?)" if elsewhere else closest(name, known)
    return f"unknown {'section or field' if owner is model else 'field'}{hint}; expected one of {', '.join(known)}"


def paths(model: type[BaseModel], prefix: Path = ()) -> Iterator[Path]:
    """The paths of all fields, sections before what they hold."""
    for name in model.model_fields:
        yield (*prefix, name)
        inner = section(model, name)
        if inner:
            yield from paths(inner, (*prefix, name))
