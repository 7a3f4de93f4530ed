"""YAML as configurations need it, recipes, and `--set`."""

import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from weakseg.errors import ConfigError

RECIPES = Path(__file__).parents[1] / "recipes"


_NO_NAMES = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary")
"""What may stand before a colon in YAML, but not in JSON."""


class _Loader(yaml.SafeLoader):
    """YAML that knows 1e-3 as a number and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the parent's, but no value is lost to a later one of the same name, and fields have names."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag in _NO_NAMES:
                fault = "expected a field's name, got a list, mapping or date"
                fault += "; if this is a template such as {{ x }}, fill it in"
                raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-3 as text, because it has no dot.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse(text: str) -> Any:
    """A YAML text's value, which JSON could hold too; raises yaml.YAMLError."""
    value = yaml.load(text, _Loader)
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise yaml.constructor.ConstructorError(None, None, "half a character, such as \\ud800", None) from error
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, "an alias stands inside what it names", None) from error
    return value


def _as_written(node: yaml.Node | None, value: Any) -> Any:
    """A name as its source has it, of which YAML may make another number (010 is 8), a truth or a date."""
    return node.value if isinstance(node, yaml.ScalarNode) and not isinstance(value, str | None) else value


def is_file(path: Path) -> bool:
    """Whether a path is a file; no file has a name that is too long for one."""
    try:
        return path.is_file()
    except OSError:
        return False


def no_home(path: str) -> str:
    """What is wrong with a path below the home of somebody who is not there."""
    return f"there is no user {Path(path).parts[0][1:]} (got {path}); write ~/ for your own folder, or the whole path"


def closest(name: str, known: list[str]) -> str:
    """` (did you mean X?)` where a known name is near, else nothing."""
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def recipes() -> list[str]:
    """The names of the recipes that come with the project."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find(source: str, *, field: str = "--config", folder: Path | None = None) -> Path:
    """The file of a recipe's name or a path.

    Args:
        source: A recipe's name, or the path of a YAML file.
        field: What names it, for messages.
        folder: What a path is relative to; None is the working folder.

    Returns:
        The file.

    Raises:
        ConfigError: No such recipe or file.
    """
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:
        raise ConfigError([f"{field}: {no_home(source)}"]) from error
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        file = path if folder is None else folder / path
        if is_file(file):
            return file
        raise ConfigError([f"{field}: no such file: {source} (looked in {(folder or Path()).absolute()})"])
    if source in recipes():
        return RECIPES / f"{source}.yaml"
    known = recipes()
    raise ConfigError(
        [f"{field}: unknown recipe {source}{closest(source, known)}; recipes: {', '.join(known)}; or give a YAML file"]
    )


def read(place: Path | str, *, field: str = "--config") -> dict[str, Any]:
    """A configuration file's content.

    Args:
        place: The file, or its s3:// address.
        field: What names it, for messages.

    Returns:
        Its top-level mapping; empty for an empty file.

    Raises:
        ConfigError: Not there, not text, not YAML, or no mapping at the top.
        ResourceError: S3 refuses.
    """
    try:
        data = place.read_bytes() if isinstance(place, Path) else _fetch(place, field)
        text = data.decode("utf-8")
        content = parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{place}: cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{place}: {_yaml_fault(error)}"]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([f"{place}: expected sections such as data: and training:, got {str(content)[:60]!r}"])
    if "run" in content:
        nodes = {key.value: node for key, node in yaml.compose(text, _Loader).value}
        content["run"] = _as_written(nodes.get("run"), content["run"])
    return {str(name): value for name, value in content.items()}


def _fetch(address: str, field: str) -> bytes:
    from pipelines import s3  # it takes its time, and few need it
    from pipelines.s3_refusals import refusals

    place = s3.Address.parse(address)
    try:
        with refusals(f"{field} {address}", reading=True):
            return s3.read(place.bucket, place.prefix)
    except FileNotFoundError:
        raise ConfigError([f"{field}: no such file: {address}"]) from None


def override(content: dict[str, Any], assignments: list[str]) -> list[str]:
    """Put `section.field=value` into a configuration, in place.

    Args:
        content: The configuration file's content.
        assignments: Each `section.field=value`, the value in YAML; also the top-level `run` and `seed`.

    Returns:
        One line per assignment that cannot be read; the others are carried out.
    """
    faults = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        path = name.strip().split(".")
        if not equals or not all(path):
            faults.append(f"--set {assignment}: expected section.field=value, such as training.epochs=12")
            continue
        if path == ["base"]:
            faults.append(f"--set {assignment}: only a file has a base; write base: {text} at its top")
            continue
        try:
            value = parse(text)
            if path == ["run"]:
                value = _as_written(yaml.compose(text, _Loader), value)
        except yaml.YAMLError as error:
            faults.append(f"--set {assignment}: {_yaml_fault(error)}")
            continue
        target = content
        for part in path[:-1]:
            if not isinstance(target.get(part), dict):
                target[part] = {}
            target = target[part]
        target[path[-1]] = value
    return faults


def _yaml_fault(error: yaml.YAMLError) -> str:
    """A YAML error in one line."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}not valid YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"
