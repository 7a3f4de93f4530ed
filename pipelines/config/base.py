"""`base:`, for a file that says only what it changes of another."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from pipelines.config.document import RECIPES, find, read
from weakseg.errors import ConfigError

_S3 = "s3://"


@dataclass(frozen=True)
class Layer:
    """What one file says.

    Attributes:
        name: A recipe's name or the file's path or address, for messages.
        file: The file; of one in a bucket only its name means something.
        content: Its top-level mapping, without `base`.
    """

    name: str
    file: Path
    content: dict[str, Any]


def layers(source: str) -> list[Layer]:
    """A file, its base, the base of that, and so on.

    Args:
        source: A recipe's name, or the path or s3:// address of a YAML file. A base is one as well, its path relative
            to its file.

    Returns:
        What each says; the first one's word counts most.

    Raises:
        ConfigError: A file is missing or cannot be read, `base` is no name, or a file is its own base in the end.
        ResourceError: S3 refuses.
    """
    found: list[Layer] = []
    field, folder = "--config", None
    while True:
        bucket = source.startswith(_S3)
        file = Path(source) if bucket else find(source, field=field, folder=folder)
        name = source if bucket else _name(file)
        if any(name == layer.name or _same(file, layer.file) for layer in found):
            circle = " -> ".join([*(layer.name for layer in found), name])
            raise ConfigError([f"{field}: a file cannot be its own base ({circle}); take one of these bases out"])
        content = read(source if bucket else file, field=field)
        base = content.pop("base", None)
        found.append(Layer(name, file, content))
        if base is None:
            return found
        field = f"{name}: base"
        if not isinstance(base, str) or not base:
            raise ConfigError([f"{field}: expected a recipe's name or the path of a YAML file, got {base!r}"])
        folder, source = file.parent, _beside(name, base) if bucket else base


def combine(stack: list[Layer]) -> dict[str, Any]:
    """Lay a file's settings over those of its bases.

    Sections merge field by field; any other value, a list or null too, replaces what was there. A section without
    fields (every line commented out) changes nothing. A run is never named by a base.

    Args:
        stack: As :func:`layers` gives them.

    Returns:
        A configuration's content that shares nothing with the layers.
    """
    content: dict[str, Any] = {}
    for layer in reversed(stack):
        content.pop("run", None)
        empty = {name for name, value in layer.content.items() if value is None and isinstance(content.get(name), dict)}
        content = _merge(content, {name: value for name, value in layer.content.items() if name not in empty})
    return deepcopy(content)


def origin(path: tuple[str, ...], stack: list[Layer], overrides: dict[str, Any]) -> str:
    """` (from the base NAME)` where a field's value is a base's, else nothing.

    Args:
        path: The field's names, from its section.
        stack: As :func:`layers` gives them.
        overrides: What `--set` says, as a configuration's content.
    """
    if _says(overrides, path):
        return ""
    told = next((layer for layer in stack if _says(layer.content, path)), stack[0])
    return "" if told is stack[0] else f" (from the base {told.name})"


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        before = merged.get(name)
        merged[name] = _merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _says(content: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(content, dict) or name not in content:
            return False
        content = content[name]
    return True


def _same(file: Path, other: Path) -> bool:
    return file.exists() and other.exists() and file.samefile(other)


def _beside(address: str, base: str) -> str:
    """The base of a file in a bucket: a path is another address there, a recipe's name stays one."""
    is_path = base.endswith((".yaml", ".yml")) and not base.startswith((_S3, "/", "~"))
    return f"{_S3}{normpath(join(dirname(address.removeprefix(_S3)), base))}" if is_path else base


def _name(file: Path) -> str:
    return file.stem if file.parent == RECIPES else str(file)
