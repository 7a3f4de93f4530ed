"""Section `cluster`: how many hands do the work. Nothing here changes what is learned."""

from pipelines.config.section import Section, setting


class Cluster(Section):
    """The plan that the Ray cluster must be able to carry.

    Attributes:
        workers: Training workers; they share training.batch_size.
        gpu: true needs GPUs, false uses none, null takes them where there are enough.
        cpus_per_worker: CPUs reserved for each training worker.
        actors: Actors that score and evaluate, each with its own copy of the model.
        loader_workers: Processes per training worker that decode and augment; 0 does it in the worker itself.
    """

    workers: int = setting(1, expected="a whole number from 1", ge=1)
    gpu: bool | None = setting(None, expected="null, true or false")
    cpus_per_worker: float = setting(1.0, expected="a number above 0", gt=0)
    actors: int = setting(1, expected="a whole number from 1", ge=1)
    loader_workers: int = setting(0, expected="a whole number from 0", ge=0)
