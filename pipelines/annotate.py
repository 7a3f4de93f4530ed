"""The annotate stage: every query of the round gets an answer, and the answers become the round's labels.

The oracle, a simulated annotator, reads the masks at the asked pixels only; people answer on a page, and the masks tell
only where control points lie and how often they were answered right. Nothing after this stage sees masks before
`evaluate`.
"""

import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotation import stage
from pipelines.annotation.desk import Desk
from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from weakseg.errors import WeaksegError
from weakseg.supervision import answer


def run(
    config: Config, ledger: Ledger, round: int, *, desk: Desk | None = None, console: Console | None = None
) -> pa.Table:
    """Answer the round's queries, once.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Which round's queries.
        desk: Where people's answers arrive; None = the oracle answers.
        console: Where progress goes.

    Returns:
        The round's labels, one row per query.
    """
    key = f"{ledger.round(round)}/labels.parquet"
    if ledger.exists(key):
        return ledger.read_table(key)
    reader = MaskReader(ledger.pool)
    if config.labelling.annotator == "browser":
        if desk is None:
            raise WeaksegError("labelling.annotator is browser: only `active` and `train` can ask people")
        masks = reader.find if reader.available("train") else None
        return stage.run(config, ledger, round, desk, masks=masks, console=console or Console())
    queries = ledger.read_table(f"{ledger.round(round)}/queries.parquet")
    segments = None
    if config.labelling.acquisition == "region":
        segments = ledger.pool.segments_of(pc.unique(queries["image_id"]).to_pylist(), split="train")
    costs = config.labelling.seconds
    labels = answer(
        queries,
        reader.mask,
        segments=segments,
        classes=len(ledger.pool.classes),
        error_rate=config.labelling.error_rate,
        seconds={"pixel": costs.pixel, "region": costs.region},
        seed=config.seed,
        labelled_at=datetime.datetime.now(datetime.UTC),
    )
    ledger.write_table(key, labels)
    return labels
