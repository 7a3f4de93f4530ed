"""Which of a sweep's models could be trained, told before a trial is begun."""

import json
from collections.abc import Callable, Sequence

from pipelines import train
from pipelines.config import Config
from weakseg.errors import WeaksegError

Fault = Callable[[Config], str | None]


def looked_at_once(classes: int) -> Fault:
    """What says why a configuration's model or batch could not be trained, None where it could; each is built once.

    Weights that cannot be read are raised: they may be there in a moment.

    Args:
        classes: How many the pool has.
    """
    known: dict[str, str | None] = {}

    def fault(config: Config) -> str | None:
        key = json.dumps([config.model.model_dump(), config.loss.class_weights, config.training.batch_size])
        if key not in known:
            found = None
            try:
                train.check(config, classes)
            except WeaksegError as error:
                if isinstance(error.__cause__, WeaksegError):
                    raise
                found = str(error)
            known[key] = found
        return known[key]

    return fault


def check(examples: Sequence[tuple[str, Config]], classes: int, *, all_of_them: bool) -> None:
    """Refuse a sweep whose models could not be trained.

    Args:
        examples: Each point in words with its configuration.
        classes: How many the pool has.
        all_of_them: Whether one point that could not is enough, else all must be such.

    Raises:
        WeaksegError: Of the first such point.
    """
    fault = looked_at_once(classes)
    found = [(point, line) for point, example in examples if (line := fault(example)) is not None]
    if found and (all_of_them or len(found) == len(examples)):
        point, line = found[0]
        shared = len(found) == len(examples) and len({line for _, line in found}) == 1
        raise WeaksegError(line if shared else f"sweep.fields: with {point}: {line}")
