"""Asking about whole superpixels: every region of the pool, with what a model thinks of it, and the best of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipelines.budgets import image_budgets
from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.members import Voting
from pipelines.parts import batch_size, grouped, load_model, over_parts
from pipelines.pool import Pool, PoolImage
from weakseg.acquisition import region_scores
from weakseg.selection import representative_pixel, select_regions
from weakseg.supervision import RegionIndex

LISTED = pa.schema(
    [
        ("index", pa.int64()),
        ("segment", pa.int32()),
        ("y", pa.int32()),
        ("x", pa.int32()),
        ("score", pa.float32()),
        ("majority", pa.int16()),
    ]
)


class RegionLister:
    """The regions of one part; without a model all score alike."""

    def __init__(self, pool: Pool, model: Mapping[str, Any] | None, voting: Voting | None, round: int) -> None:
        """Load the model."""
        self._pool, self._model = pool, None if model is None else load_model(model)
        self._voting, self._round = voting, round

    def __call__(self, part: int) -> pa.Table:
        """One row per region of the part's training images."""
        tables = [LISTED.empty_table()]
        for rows in grouped(self._pool.images(part, split="train", segments=True)):
            predictions = None
            if self._model is not None and self._voting is not None:
                size = batch_size(self._pool)
                predictions = self._voting.probabilities(self._model, rows, round=self._round, batch_size=size)
            tables += [_listed(row, None if predictions is None else next(predictions)) for row in rows]
        return pa.concat_tables(tables)


def _listed(row: PoolImage, probs_CHW: Tensor | None) -> pa.Table:
    """The regions of an image, with what a prediction thinks of them."""
    assert row.segments is not None
    yx_S2 = representative_pixel(row.segments)
    score_S, majority_S = np.zeros(len(yx_S2), np.float32), np.zeros(len(yx_S2), np.int64)
    if probs_CHW is not None:
        found = region_scores(probs_CHW, torch.from_numpy(row.segments).to(probs_CHW.device))
        score_S, majority_S = found.score_S.cpu().numpy(), found.majority_S.cpu().numpy()
    columns = {
        "index": np.full(len(yx_S2), row.index, np.int64),
        "segment": np.arange(len(yx_S2), dtype=np.int32),
        "y": yx_S2[:, 0],
        "x": yx_S2[:, 1],
        "score": score_S,
        "majority": majority_S,
    }
    return pa.table(columns).cast(LISTED)


def choose(
    config: Config,
    ledger: Ledger,
    *,
    round: int,
    model: Mapping[str, Any] | None,
    labels: pa.Table | None,
    console: Console,
) -> pa.Table:
    """The regions that a round asks, over the whole pool.

    Args:
        config: The run's configuration.
        ledger: The run.
        round: The round that will ask them.
        model: Files of the model that scores; None = all score alike, which draws uniformly.
        labels: All answers so far, whose regions are not asked again; None = there are none.
        console: Where progress goes.

    Returns:
        image_id, segment, y, x, score and rank, the best first.
    """
    pool = ledger.pool
    index = pool.index("train")
    ids = index.image_ids.to_pylist()
    arguments = {"pool": pool, "model": model, "voting": None if model is None else Voting.of(config), "round": round}
    parts = index.parts()
    tables = []
    title = "list regions" if model is None else "score"
    with console.stage(f"round {max(0, round - 1)}: {title}", total=len(parts)) as stage:
        for table in over_parts(config, parts, RegionLister, arguments):
            tables.append(table)
            stage.advance(1)
    found = {name: column.to_numpy() for name, column in zip(LISTED.names, pa.concat_tables(tables), strict=True)}
    budgets_N = image_budgets(config, ids)
    excluded_N = budgets_N[found["index"]] == 0
    if labels is not None:
        excluded_N |= RegionIndex(index.image_ids, labels).was_asked(found["index"], found["segment"])
    chosen = select_regions(
        found["index"],
        found["segment"],
        found["score"],
        found["majority"],
        np.stack([found["y"], found["x"]], axis=1),
        int(budgets_N.sum()),
        image_ids=ids,
        exclude_N=excluded_N,
        seed=config.seed,
        round=round,
    )
    return pa.table(
        {
            "image_id": [ids[i] for i in chosen.image_K],
            "segment": chosen.segment_K.astype(np.int32),
            "y": chosen.yx_K2[:, 0].astype(np.int32),
            "x": chosen.yx_K2[:, 1].astype(np.int32),
            "score": chosen.score_K,
            "entropy": np.full(len(chosen.row_K), np.nan, np.float32),
            "rank": np.arange(len(chosen.row_K), dtype=np.int32),
        }
    )
