"""The best point as a recipe: a file that `--config` takes."""

from collections.abc import Mapping
from typing import Any

import yaml

from pipelines.config import Config, load
from pipelines.config.base import combine, layers
from pipelines.config.document import RECIPES


def recipe(config: Config, *, source: str, head: str) -> str:
    """A configuration as a file that says only what it changes of a recipe.

    The recipe is the one that the sweep's file stands on in the end, so that neither that file nor what was given with
    `--set` need be there later. Where it stands on none, all that differs from the defaults is said.

    Args:
        config: The configuration, its paths as the user gave them.
        source: The `--config` of the sweep.
        head: Comment lines, without `#`.

    Returns:
        YAML.
    """
    base = _base(source)
    below = load(base, verb="config") if base else Config(run="none", data={"layout": config.data.layout})
    ours, theirs = config.model_dump(mode="json"), below.model_dump(mode="json")
    changed = _changes(theirs, ours)
    changed.pop("sweep", None)
    if base is None:
        changed.setdefault("data", {})["layout"] = config.data.layout
    content = {**({"base": base} if base else {}), "run": config.run, **changed}
    comments = "".join(f"# {line}\n" for line in head.splitlines())
    return comments + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _base(source: str) -> str | None:
    """The first of the files that `source` stands on that comes with the project and is no sweep itself."""
    stack = layers(source)
    for number, layer in enumerate(stack):
        if layer.file.parent == RECIPES and combine(stack[number:]).get("sweep") is None:
            return layer.file.stem
    return None


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What of a nested mapping is not as in another; sections on both sides field by field."""
    found: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            inner = _changes(before, value)
            if inner:
                found[name] = inner
        elif before != value or name not in old:
            found[name] = value
    return found
