"""Any registered version on any pool: the verb `evaluate --model`. No run is opened and none is written."""

from typing import Any

import ray

from pipelines import evaluate, prepare, resources, tracking_server
from pipelines.config import Config
from pipelines.console import Console
from pipelines.pool import Pool
from pipelines.serving.registered import Registered, fetch
from pipelines.storage import open_storage
from pipelines.summary import SCORE_COLUMNS, score_rows
from pipelines.tracking_uri import tracking_uri
from weakseg.errors import DataError


def evaluate_model(config: Config, console: Console, *, model: str) -> dict[str, Any]:
    """Score a registered version on the configured pool, which is made where it is missing.

    Args:
        config: Names the pool and, unless the environment does, the tracking store.
        console: Where progress and the table go.
        model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`; it sees images as `predict` shows them to it.

    Returns:
        model, pool (its digest), and the scores of every split that has masks; calibration is told at the model's
        own temperature.

    Raises:
        DataError: The model's classes are not the pool's, or the pool has no masks.
        ResourceError: The model cannot be had.
    """
    storage = open_storage(config.storage.root)
    uri = tracking_uri(config, storage)
    tracking_server.check(uri)
    registered = fetch(model, uri)
    resources.connect(config, verbose=console.verbose)
    resources.check(config, storage, trains=False)
    pool = Pool(storage, prepare.run(config, storage, console=console).digest)
    _refuse_other_classes(registered, pool)
    splits = [split for split in ("val", "test") if evaluate.has_masks(pool, split)]
    if not splits:
        raise DataError(f"pool {pool.digest} has no masks for validation or test: there is nothing to score on")
    files = {"spec": registered.spec, "weights": ray.put(registered.weights)}
    scores = {
        split: evaluate.measure(
            config,
            pool,
            files,
            split,
            console=console,
            title=f"{registered.address}: evaluate ({split})",
            temperature=registered.view.temperature,
            view=registered.view,
        )
        for split in splits
    }
    console.table(f"{registered.address} on pool {pool.digest}", SCORE_COLUMNS, score_rows(scores))
    return {"model": registered.address, "pool": pool.digest, **scores}


def _refuse_other_classes(registered: Registered, pool: Pool) -> None:
    own, names = registered.classes.names, pool.classes.names
    if names != own:
        raise DataError(
            f"{registered.address} has {len(own)} classes ({', '.join(own)}), pool {pool.digest} has {len(names)} "
            f"({', '.join(names)}): names and order must agree; name a pool with the model's classes"
        )
