"""The space that a section `sweep` spans: its fields, their values, its faults."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipelines.config.document import closest
from pipelines.config.faults import paths, show
from pipelines.config.root import Config
from pipelines.config.sweep import Sweep

Point = dict[str, Any]
"""Values by dotted field."""

SWEPT = ("superpixels", "supervision", "model", "loss", "training", "labelling", "stop")
"""Sections whose fields change what a run learns, on the same images."""

DISTRIBUTIONS = ("uniform", "loguniform", "randint", "choice")
MOST = 10_000
LONGEST_NAME = 80
"""Letters of a sweep's name: its trials' names add 20, and a run's may have 100."""

_WHY = {
    "run": "every trial gets a name of its own",
    "seed": "list sweep.seeds",
    "data": "trials are compared on the same images",
    "evaluate": "trials are compared by the same measure",
}
_BUDGET = (
    "labelling.rounds",
    "labelling.pixels_per_image",
    "labelling.seconds",
    "stop",
    "supervision",
    "training.epochs",
    "training.early_stopping",
)
"""What makes one trial cost more than another."""


def space(sweep: Sweep) -> dict[str, dict[str, list[Any]]]:
    """The distribution of each field, by its dotted name; a list of values is a `choice`.

    Args:
        sweep: A section without faults.
    """
    found = {}
    for name, value in _flat(sweep.fields):
        found[name] = {"choice": value} if isinstance(value, list) else dict(value)
    return found


def grid(sweep: Sweep) -> Iterator[Point]:
    """Every combination of the listed values; the last field changes fastest."""
    axes = {name: distribution["choice"] for name, distribution in space(sweep).items()}
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def seeds(config: Config) -> list[int]:
    """The seeds that every point is run with."""
    assert config.sweep is not None
    return list(config.sweep.seeds) if config.sweep.seeds else [config.seed]


def faults(config: Config, check: Callable[[Mapping[str, Any]], Sequence[str]]) -> list[str]:
    """Everything that is wrong with a sweep, one line per fault.

    Args:
        config: A configuration that is valid by itself.
        check: The faults of the configuration with other values of some fields.

    Returns:
        The lines; none where the sweep may begin. Every point of a grid has been checked; of a space that is drawn
        from, each field at its bounds and between them, the others as configured.
    """
    sweep = config.sweep
    if sweep is None:
        return ["sweep: expected a section with fields to try, such as sweep: {fields: {loss.consistency: [0.0, 0.1]}}"]
    lines = [*_settings(config, sweep), *_fields(sweep)]
    if lines:
        return lines
    lines += _asha(config, sweep)
    axes = space(sweep)
    if sweep.search == "grid":
        lines += [
            f"sweep.fields.{name}: a grid needs a list of values, got {show(distribution)}; "
            "list them, or set sweep.search to random or optuna"
            for name, distribution in axes.items()
            if "choice" not in distribution
        ]
        count = math.prod(len(next(iter(distribution.values()))) for distribution in axes.values())
        if not lines and count * len(seeds(config)) > MOST:
            lines.append(
                f"sweep.fields: {count} points and {len(seeds(config))} seeds are more than {MOST} trials; "
                "list fewer values, or set sweep.search to random"
            )
    if lines:
        return lines
    points = grid(sweep) if sweep.search == "grid" else _bounds(axes)
    found: dict[str, None] = {}
    for point in points:
        for line in check(point):
            # A fault of one value is the same at every point that has it; a rule between fields is told with its point.
            own = line.partition(":")[0] in point
            found[f"sweep.fields.{line}" if own else f"sweep.fields: with {words(point)}: {line}"] = None
    return list(found) or list(_whole_numbers(axes, check))


def words(point: Mapping[str, Any]) -> str:
    """A point as people read it: `loss.point=0.5, labelling.pixels_per_image=10`."""
    return ", ".join(f"{name}={value if isinstance(value, str) else show(value)}" for name, value in point.items())


def _settings(config: Config, sweep: Sweep) -> Iterator[str]:
    if len(config.run) > LONGEST_NAME:
        yield f"run: expected at most {LONGEST_NAME} letters, as trials get longer names, got {len(config.run)}"
    if config.labelling.annotator != "oracle":
        yield (
            f"labelling.annotator: expected oracle for a sweep, got {config.labelling.annotator}: "
            "nobody can answer anew for every trial; pass --set labelling.annotator=oracle"
        )
    if sweep.search == "grid" and sweep.trials is not None:
        yield "sweep.trials: a grid runs all its points; remove it, or set sweep.search to random or optuna"
    if sweep.search != "grid" and sweep.trials is None:
        yield f"sweep.trials: expected how many points to try with sweep.search {sweep.search}, got nothing"
    if sweep.seeds and len(set(sweep.seeds)) < len(sweep.seeds):
        yield f"sweep.seeds: expected each seed once, got {show(list(sweep.seeds))}"


def _fields(sweep: Sweep) -> Iterator[str]:
    """The faults of each field by itself."""
    names = [name for name, _ in _flat(sweep.fields)]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"sweep.fields.{name}: given twice; remove one of them"
        elif any(other.startswith(f"{name}.") for other in names):
            yield f"sweep.fields.{name}: one of its own fields is swept too; remove one of them"
    for name, value in _flat(sweep.fields):
        unknown = _unknown(name)
        if unknown:
            yield f"sweep.fields.{name}: {unknown}"
        else:
            yield from (f"sweep.fields.{name}: {fault}" for fault in _values(value))


def _unknown(name: str) -> str | None:
    """Why a field cannot be swept, None if it can."""
    section, *rest = name.split(".")
    if section == "labelling" and rest and rest[0] in ("annotator", "browser"):
        return "cannot be swept: trials ask the oracle"
    if section in Config.model_fields and section not in SWEPT:
        why = _WHY.get(section, "it changes nothing that is learned")
        return f"cannot be swept: {why}; fields of {', '.join(SWEPT)} can"
    known = [".".join(path) for path in paths(Config) if path[0] in SWEPT and len(path) > 1]
    if not rest and section in SWEPT:
        first = next(field for field in known if field.startswith(f"{section}."))
        return f"a whole section cannot be swept; name one of its fields, such as {first}"
    if name not in known:
        return f"unknown field{closest(name, known)}; fields of {', '.join(SWEPT)} can be swept"
    return None


def _values(value: Any) -> Iterator[str]:
    """What is wrong with a list of values or a distribution."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in DISTRIBUTIONS:
        kind, limits = next(iter(value.items()))
    elif isinstance(value, list):
        kind, limits = "choice", value
    else:
        forms = "{uniform: [lo, hi]}, {loguniform: [lo, hi]}, {randint: [lo, hi]} or {choice: [...]}"
        yield f"expected a list of values, {forms}, got {show(value)}"
        return
    if kind == "choice":
        if not isinstance(limits, list) or not limits:
            yield f"expected at least one value, got {show(limits)}"
        elif len({json.dumps(item, sort_keys=True, default=str) for item in limits}) < len(limits):
            yield f"expected each value once, got {show(limits)}"
        return
    whole = kind == "randint"
    numbers = isinstance(limits, list) and len(limits) == 2 and all(_is_number(item, whole) for item in limits)
    if not numbers or not limits[0] < limits[1] or (kind == "loguniform" and limits[0] <= 0):
        what = "two whole numbers" if whole else "two numbers above 0" if kind == "loguniform" else "two numbers"
        yield f"expected {{{kind}: [lo, hi]}}, {what} with lo < hi, got {show(value)}"


def _is_number(value: Any, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool) and math.isfinite(value)


def _asha(config: Config, sweep: Sweep) -> Iterator[str]:
    if sweep.asha is None:
        return
    if sweep.search == "grid":
        yield "sweep.asha: a grid is run as a whole; set it to null, or set sweep.search to random or optuna"
    names = list(space(sweep))
    unequal = [name for name in names if any(name == root or name.startswith(f"{root}.") for root in _BUDGET)]
    if unequal:
        yield f"sweep.asha: only among trials of equal budget, but {', '.join(unequal)} changes it; set it to null"
    weights = [name for name in names if name.startswith("loss.")]
    if sweep.verb == "train" and weights:
        yield (
            "sweep.asha: trainings are compared by their validation loss as they go, which "
            f"{', '.join(weights)} changes; set it to null"
        )
    if sweep.verb == "train" and config.training.early_stopping is None:
        yield (
            "sweep.asha: trainings are compared by their validation loss as they go, which only "
            "training.early_stopping measures; set that, such as {patience: 10}, or sweep.asha to null"
        )


def _bounds(axes: Mapping[str, Mapping[str, list[Any]]]) -> Iterator[Point]:
    for name, distribution in axes.items():
        for value in next(iter(distribution.values())):
            yield {name: value}


def _whole_numbers(
    axes: Mapping[str, Mapping[str, list[Any]]], check: Callable[[Mapping[str, Any]], Sequence[str]]
) -> Iterator[str]:
    """Fields of whole numbers with a distribution that hardly ever draws one, though its bounds are two."""
    for name, distribution in axes.items():
        kind, limits = next(iter(distribution.items()))
        if kind not in ("uniform", "loguniform"):
            continue
        low, high = limits
        drawn = low + (high - low) / math.sqrt(2)
        if any(line.partition(":")[0] == name for line in check({name: drawn})):
            yield (
                f"sweep.fields.{name}: takes whole numbers only, got {show(distribution)}; use {{randint: [lo, hi]}} "
                "or a list of values"
            )


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields by dotted name; they may be nested, as `--set sweep.fields.loss.point=[1, 2]` does."""
    for name, value in fields.items():
        if isinstance(value, dict) and value and not set(value) & set(DISTRIBUTIONS):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
