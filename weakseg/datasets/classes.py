"""The classes of a data set: names, colours, keyboard keys, and `classes.yaml` where they live."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from weakseg.datasets.files import Files
from weakseg.errors import DataError
from weakseg.schema import VOID

Color: TypeAlias = tuple[int, int, int]

_KEYS = "1234567890qwertyuiopasdfghjklzxcvbnm"
_FIELDS = {"name", "color", "key"}
_EXAMPLE = 'classes: [{name: road, color: "#6EC1E4"}, {name: water, color: "#E2A929", key: w}]'


@dataclass(frozen=True)
class Classes:
    """What a pixel can be; the position is the class index.

    Args:
        names: One per class, unique.
        colors: RGB in 0..255, one per class, unique.
        keys: What an annotator presses, one per class, unique; empty where there are none left.
        void_colors: Colours that mean void in colour-coded masks.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    keys: tuple[str, ...] = ()
    void_colors: tuple[Color, ...] = ()

    def __post_init__(self) -> None:
        """Fill in keys and refuse what would make a mask ambiguous."""
        if not self.keys:
            object.__setattr__(self, "keys", _fill_keys([""] * len(self.names)))
        faults = _faults(self)
        if faults:
            raise DataError("classes: " + "; ".join(faults))

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)

    @classmethod
    def from_yaml(cls, source: str | Path) -> "Classes":
        """Read `classes.yaml`: a list `classes` of name, color and optional key, optionally `void_colors`.

        Args:
            source: A file, or (as str) the text itself.

        Returns:
            The classes in the order of the file.

        Raises:
            DataError: No such file, not YAML, or faulty classes; the text says which and what to write.
        """
        if isinstance(source, Path):
            return _read(lambda: source.read_text(encoding="utf-8"), source.name, str(source))
        return _read(lambda: source, "classes", "classes")

    @classmethod
    def from_files(cls, files: Files, path: str) -> "Classes":
        """Read `classes.yaml` of a data set, wherever it lies; otherwise as :meth:`from_yaml`."""
        return _read(lambda: files.read(path).decode(), path.rpartition("/")[2], f"{files.root}/{path}")

    def to_yaml(self) -> str:
        """The text that :meth:`from_yaml` reads back to equal classes."""
        rows = [
            {"name": name, "color": hexadecimal(color)} | ({"key": key} if key else {})
            for name, color, key in zip(self.names, self.colors, self.keys, strict=True)
        ]
        content: dict[str, Any] = {"classes": rows}
        if self.void_colors:
            content["void_colors"] = [hexadecimal(color) for color in self.void_colors]
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def hexadecimal(color: Sequence[int]) -> str:
    """An RGB colour as #RRGGBB."""
    return "#" + bytes(color).hex().upper()


def _read(read: Callable[[], str], name: str, where: str) -> Classes:
    try:
        content = yaml.safe_load(read())
    except FileNotFoundError as error:
        raise DataError(f"no {name} (looked for {where}): write one, such as {_EXAMPLE}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name} cannot be read as YAML ({reason}): write it as {_EXAMPLE}") from error
    try:
        return _parse(content)
    except DataError as error:
        raise DataError(f"{name}: {str(error).removeprefix('classes: ')}; write it as {_EXAMPLE}") from error


def _parse(content: Any) -> Classes:
    rows = content.get("classes") if isinstance(content, dict) else content
    void = content.get("void_colors", []) if isinstance(content, dict) else []
    unknown = sorted(map(str, set(content) - {"classes", "void_colors"})) if isinstance(content, dict) else []
    if unknown:
        raise DataError(f"unknown field {', '.join(unknown)}, known are classes and void_colors")
    if not isinstance(rows, list) or not rows:
        raise DataError("expected a list `classes` with at least one class")
    if not isinstance(void, list):
        raise DataError("void_colors must be a list of colours")
    faults, names, colors, keys = [], [], [], []
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or "name" not in row or "color" not in row or set(row) - _FIELDS:
            faults.append(f"class {number} needs name and color (optional key) and nothing else, got {row!r}")
            continue
        names.append(str(row["name"]))
        keys.append(str(row.get("key") or ""))
        try:
            colors.append(_color(row["color"]))
        except DataError as error:
            faults.append(f"class {number} ({row['name']}): {error}")
    if faults:
        raise DataError("; ".join(faults))
    return Classes(tuple(names), tuple(colors), _fill_keys(keys), tuple(_color(color) for color in void))


def _color(value: Any) -> Color:
    if isinstance(value, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
        return value[0], value[1], value[2]
    raise DataError(f'a color is "#RRGGBB" in quotes or [R, G, B] in 0..255, got {value!r}')


def _fill_keys(keys: Sequence[str]) -> tuple[str, ...]:
    free = [key for key in _KEYS if key not in keys]
    return tuple(key or (free.pop(0) if free else "") for key in keys)


def _faults(classes: Classes) -> list[str]:
    faults = []
    if not 2 <= len(classes.names) <= VOID:
        faults.append(f"between 2 and {VOID} classes (the background is one), got {len(classes.names)}")
    if not len(classes.names) == len(classes.colors) == len(classes.keys):
        faults.append("as many colors and keys as names")
    if "" in classes.names:
        faults.append("a class without a name")
    families: list[tuple[str, list[str]]] = [
        ("name", list(classes.names)),
        ("color", [hexadecimal(color) for color in (*classes.colors, *classes.void_colors)]),
        ("key", [key for key in classes.keys if key]),
    ]
    for what, values in families:
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            faults.append(f"{what} {', '.join(twice)} is given twice")
    return faults
