"""Section `cluster`: how many hands do the work. With one number of workers nothing here changes what is learned.

With another one rounding does, and batch normalisation, which sees a worker's own share of a batch.
"""

from typing import Annotated

from pydantic import Field

from pipelines.config.section import Section, setting

Count = Annotated[int, Field(ge=1)]


class Cluster(Section):
    """The plan that the Ray cluster must be able to carry.

    Attributes:
        workers: Training workers; they share training.batch_size. [least, most] takes what there is room for between
            the two, and more or fewer as machines come and go.
        gpu: true needs GPUs, false uses none, null takes them where there are enough.
        cpus_per_worker: CPUs reserved for each training worker.
        actors: Actors that score and evaluate, each with its own copy of the model.
        loader_workers: Processes per training worker that decode and augment; 0 does it in the worker itself.
    """

    workers: Count | tuple[Count, Count] = setting(1, expected="a whole number from 1, or [least, most]")
    gpu: bool | None = setting(None, expected="null, true or false")
    cpus_per_worker: float = setting(1.0, expected="a number above 0", gt=0)
    actors: int = setting(1, expected="a whole number from 1", ge=1)
    loader_workers: int = setting(0, expected="a whole number from 0", ge=0)

    @property
    def least_workers(self) -> int:
        """Without so many, training waits."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int:
        """There are never more."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]
