"""Optuna's part: which points to try next, given what the earlier ones brought.

Its state is what the ledger holds. The points of a batch are written down before they are run; a batch is asked from a
study that is built anew from all points before it, in their order, with a sampler seeded for this batch. So a killed
sweep finds its points, needs no database, and a new version of Optuna changes nothing that was asked already.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipelines.config import Config
from pipelines.config.space import Point, space
from pipelines.ledger import Ledger
from pipelines.sweep.plan import rounded
from weakseg import seeding

Told = tuple[Point, float | None]
"""A point and its score; None where it has none (its trials failed)."""


def batches(
    config: Config, ledger: Ledger, *, size: int, score: Callable[[Point], float | None]
) -> Iterator[list[Point]]:
    """The points to run next, batch by batch, until there are `sweep.trials`.

    Args:
        config: The sweep's configuration.
        ledger: The sweep's, held by this driver.
        size: Points of a new batch: as many as run side by side, as each batch learns from those before.
        score: The score of a point that has been run.

    Yields:
        Points; the next batch is asked for when these have been run.
    """
    assert config.sweep is not None
    assert config.sweep.trials is not None
    points: list[Point] = []
    number = 0
    while len(points) < config.sweep.trials:
        left = config.sweep.trials - len(points)
        key = f"points/{number:04d}.json"
        if not ledger.exists(key):
            told = [(point, score(point)) for point in points]
            ledger.write_json(key, ask(config, told, min(size, left), batch=number))
        batch = ledger.read_json(key)[:left]
        yield batch
        points += batch
        number += 1


def ask(config: Config, told: Sequence[Told], count: int, *, batch: int) -> list[Point]:
    """Points that a Tree-structured Parzen Estimator finds promising.

    Args:
        config: The sweep's configuration.
        told: All points so far, in order.
        count: How many.
        batch: The number of the batch, which seeds the sampler.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert config.sweep is not None
    axes = space(config.sweep)
    distributions = {name: _distribution(axis) for name, axis in axes.items()}
    seed = seeding.integer(config.seed, "sweep batch", round=batch) % 2**32
    # Points of a batch do not see each other's scores: the liar keeps them apart.
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    states = optuna.trial.TrialState
    for point, value in told:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: _encoded(axes[name], point[name]) for name in axes},
                distributions=distributions,
                value=value,
                state=states.FAIL if value is None else states.COMPLETE,
            )
        )
    asked = [study.ask(distributions).params for _ in range(count)]
    return [{name: _decoded(axes[name], params[name]) for name in axes} for params in asked]


def _distribution(axis: dict[str, list[Any]]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    ((kind, values),) = axis.items()
    match kind:
        case "choice":  # by position, as values may be lists
            return CategoricalDistribution(range(len(values)))
        case "randint":
            return IntDistribution(*values)
        case _:
            return FloatDistribution(*values, log=kind == "loguniform")


def _encoded(axis: dict[str, list[Any]], value: Any) -> Any:
    return axis["choice"].index(value) if "choice" in axis else value


def _decoded(axis: dict[str, list[Any]], value: Any) -> Any:
    ((kind, values),) = axis.items()
    if kind == "choice":
        return values[value]
    return int(value) if kind == "randint" else rounded(float(value), *values)
