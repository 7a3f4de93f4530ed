"""Section `sweep`: which fields to try which values of. Only the verb `sweep` reads it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pipelines.config.section import Section, setting


class Asha(Section):
    """Stop trials that are behind (Li et al., 2020), among trials of equal budget.

    Attributes:
        grace: Reports (rounds of active, epochs of train) before a trial may be stopped.
        reduction: One in so many trials goes on at each rung.
    """

    grace: int = setting(1, expected="a whole number from 1", ge=1)
    reduction: int = setting(3, expected="a whole number from 2", ge=2)


class Sweep(Section):
    """Whole runs over points of a space of settings; the same file serves the other verbs, which leave it alone.

    Attributes:
        verb: What a trial is: active (rounds) or train (one training).
        fields: Dotted fields, each with a list of values or a distribution: {uniform: [lo, hi]},
            {loguniform: [lo, hi]}, {randint: [lo, hi]} (both included) or {choice: [...]}.
        search: grid (every combination), random (drawn by the seed), or optuna (TPE, learns from finished trials).
        trials: Points to try, of random and optuna; may grow on a finished sweep, which then goes on.
        seeds: Every point is run with each; null is the configuration's one seed.
        metric: What is compared: of the last round, on validation.
        asha: null, or when to stop trials that are behind.
        max_concurrent: Trials at once; null is as many as the cluster can hold.
    """

    verb: Literal["active", "train"] = setting("active", expected="what a trial is")
    fields: dict[str, Any] = setting(
        expected="dotted fields with their values, such as {loss.consistency: [0.0, 0.1]}", min_length=1
    )
    search: Literal["grid", "random", "optuna"] = setting("grid", expected="a search")
    trials: int | None = setting(None, expected="null or a whole number from 1", ge=1, le=10_000)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] | None = setting(
        None, expected="null or a list of whole numbers from 0", min_length=1
    )
    metric: Literal["miou", "boundary_f1"] = setting("miou", expected="a score")
    asha: Asha | None = setting(None, expected="null or a section of fields")
    max_concurrent: int | None = setting(None, expected="null or a whole number from 1", ge=1)
