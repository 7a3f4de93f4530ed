"""Which trials a sweep has: points of its space, each with every seed, named for good."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import Config, amend, digest, identity
from pipelines.config.space import Point, grid, seeds, space, words
from pipelines.ledger import Ledger
from pipelines.storage import Storage
from weakseg import seeding
from weakseg.errors import ConfigError

LEAST_DRAWS = 1000
"""Points that a random search draws at least before it has no more."""


@dataclass(frozen=True)
class Trial:
    """A point with a seed.

    Attributes:
        name: Of its run; the same point and seed of the same sweep have the same name in every process.
        point: Values by dotted field.
        seed: The run's seed.
    """

    name: str
    point: Point
    seed: int


def trials(config: Config, points: Iterable[Point]) -> list[Trial]:
    """Points with every seed of the sweep; a point that comes twice is one.

    Args:
        config: The sweep's configuration.
        points: Values by dotted field.
    """
    found = {}
    for point in points:
        for seed in seeds(config):
            name = f"{config.run}-{digest(point)[:8]}-s{seed}"
            found[name] = Trial(name, point, seed)
    return list(found.values())


def chosen_config(config: Config, trial: Trial) -> Config:
    """The configuration that a trial stands for, as a user would write it; its run is the trial's.

    Args:
        config: The sweep's configuration.
        trial: One of its trials.

    Raises:
        ConfigError: What is wrong with the point.
    """
    assert config.sweep is not None
    # Scenes and splits are drawn by a seed: all trials look at the same.
    same = {} if config.data.seed is not None else {"data.seed": config.seed}
    changes = {**trial.point, "run": trial.name, "seed": trial.seed, **same, "sweep": None}
    return amend(config, changes, verb=config.sweep.verb)


def trial_config(config: Config, trial: Trial, storage: Storage) -> Config:
    """The configuration that a trial is run with, in a process whose working folder is another one.

    Args:
        config: The sweep's configuration.
        trial: One of its trials.
        storage: The sweep's.
    """
    wanted = chosen_config(config, trial)
    # The test is for the one model that is chosen in the end.
    changes: dict[str, Any] = {"storage.root": storage.root, "evaluate.test": False}
    files = {
        "data.path": wanted.data.path,
        "model.weights": None if wanted.model.weights == "imagenet" else wanted.model.weights,
        "supervision.proportions": wanted.supervision.proportions_file,
        "supervision.coarse": wanted.supervision.coarse_file,
    }
    changes |= {name: str(Path(path).absolute()) for name, path in files.items() if path and "://" not in path}
    return amend(wanted, changes, verb="config")


def random_points(config: Config) -> list[Point]:
    """The points of a random search: the first so many of an endless row that the seed fixes, no two alike.

    Points that break a rule between fields are left out.

    Args:
        config: The sweep's configuration.

    Returns:
        At most `sweep.trials` points; fewer where the space has no more.

    Raises:
        ConfigError: None of many points can be run.
    """
    assert config.sweep is not None
    assert config.sweep.trials is not None
    found: dict[str, Point] = {}
    broken: dict[str, str] = {}
    for number in range(max(LEAST_DRAWS, 50 * config.sweep.trials)):
        if len(found) == config.sweep.trials:
            break
        rng = seeding.generator(config.seed, "sweep point", round=number)
        point = {name: _draw(distribution, rng) for name, distribution in space(config.sweep).items()}
        key = digest(point)
        if key in found or key in broken:
            continue
        try:
            amend(config, {**point, "sweep": None}, verb=config.sweep.verb, strict=False)
        except ConfigError as error:
            broken[key] = f"{words(point)}: {error.faults[0]}"
        else:
            found[key] = point
    if not found:
        raise ConfigError([f"sweep.fields: no point drawn can be run, such as {next(iter(broken.values()))}"])
    return list(found.values())


def rounded(value: float, low: float, high: float) -> float:
    """A drawn number in four digits, which people can read, within its bounds."""
    return min(max(float(f"{value:.4g}"), low), high)


def sweep_identity(config: Config, pool_digest: str) -> dict[str, Any]:
    """What may not change between two starts of a sweep: its space, and all that its fields do not override.

    Args:
        config: The sweep's configuration.
        pool_digest: The shared pool's.
    """
    sweep = config.sweep
    assert sweep is not None
    axes = space(sweep)
    base = {**identity(config, pool_digest), "labelling.rounds": config.labelling.rounds}
    base |= {f"stop.{name}": value for name, value in config.stop.model_dump(mode="json").items()}
    fixed = {name: value for name, value in base.items() if name not in axes}
    settings = {
        "sweep.verb": sweep.verb,
        "sweep.search": sweep.search,
        "sweep.seeds": seeds(config),
        "sweep.metric": sweep.metric,
        "sweep.asha": None if sweep.asha is None else sweep.asha.model_dump(mode="json"),
    }
    return {**fixed, **settings, **{f"sweep.fields.{name}": value for name, value in axes.items()}}


def listed_points(config: Config) -> list[Point] | None:
    """All points of a grid or a random search; None of Optuna, which asks as it learns."""
    assert config.sweep is not None
    match config.sweep.search:
        case "grid":
            return list(grid(config.sweep))
        case "random":
            return random_points(config)
        case _:
            return None


def planned(config: Config, ledger: Ledger) -> int:
    """How many trials a sweep has when it is done; of Optuna, which may ask again, at most as long as it asks.

    Args:
        config: The sweep's configuration.
        ledger: The sweep's, in which the points lie that Optuna has asked.
    """
    assert config.sweep is not None
    points, left = listed_points(config), 0
    if points is None:
        wanted = config.sweep.trials or 0
        keys = sorted(ledger.storage.list(ledger.key("points")))
        asked = [point for key in keys for point in json.loads(ledger.storage.read_bytes(key))]
        points, left = asked[:wanted], max(0, wanted - len(asked))
    return len(trials(config, points)) + left * len(seeds(config))


def pools(configs: Iterable[Config]) -> Iterator[Config]:
    """One configuration for each way to prepare the images: other superpixels and coarse labels are other tables."""
    seen = set()
    for config in configs:
        supervision = config.supervision
        key = digest([config.superpixels.model_dump(), supervision.coarse, supervision.coarsening.model_dump()])
        if key not in seen:
            seen.add(key)
            yield config


def _draw(distribution: dict[str, list[Any]], rng: Any) -> Any:
    ((kind, values),) = distribution.items()
    match kind:
        case "choice":
            return values[int(rng.integers(len(values)))]
        case "randint":
            return int(rng.integers(values[0], values[1], endpoint=True))
        case "uniform":
            return rounded(float(rng.uniform(*values)), *values)
        case "loguniform":
            low, high = values
            return rounded(float(low * (high / low) ** rng.random()), low, high)
    raise AssertionError(kind)
