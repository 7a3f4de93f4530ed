"""The select stage: the queries of a round.

Round 0, and every round of `acquisition: random`, draws uniformly over the pixels not asked yet; it needs image
sizes only. The other strategies take what the `score` stage chose. (Never run this file as a script: its name
would shadow the standard library's `select`.)
"""

import numpy as np
import pyarrow as pa

from pipelines.config import Config
from pipelines.ledger import Ledger
from weakseg import seeding
from weakseg.schema import QUERIES
from weakseg.selection import select_pixels
from weakseg.supervision import PointIndex


def run(config: Config, ledger: Ledger, round: int) -> pa.Table:
    """Write the queries of a round, once.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: The round that will ask them.

    Returns:
        The queries, in the pool's order.
    """
    key = f"{ledger.round(round)}/queries.parquet"
    if ledger.exists(key):
        return ledger.read_table(key)
    random = round == 0 or config.labelling.acquisition == "random"
    chosen = _draw(config, ledger, round) if random else ledger.read_table(f"{ledger.round(round - 1)}/scored.parquet")
    count = chosen.num_rows
    queries = pa.table(
        {
            "image_id": chosen["image_id"],
            "round": pa.array(np.full(count, round, np.int32)),
            "kind": pa.repeat("pixel", count),
            "purpose": pa.repeat("train", count),
            "y": chosen["y"],
            "x": chosen["x"],
            "segment": pa.nulls(count, pa.int32()),
            "score": chosen["score"],
            "rank": chosen["rank"],
            "strategy": pa.repeat("random" if random else config.labelling.acquisition, count),
        }
    ).cast(QUERIES)
    ledger.write_table(key, queries)
    return queries


def needs_scores(config: Config, round: int) -> bool:
    """Whether the queries of a round come from the model of the round before."""
    return round > 0 and config.labelling.acquisition != "random"


def _draw(config: Config, ledger: Ledger, round: int) -> pa.Table:
    """Uniform pixels per image, none asked before."""
    index = ledger.pool.index("train")
    asked = PointIndex(index.image_ids, ledger.labels(round - 1)) if round > 0 else None
    budget = config.labelling.pixels_per_image
    names, points = [], []
    for i, (image_id, height, width) in enumerate(
        zip(index.image_ids.to_pylist(), index.heights, index.widths, strict=True)
    ):
        exclude_HW = np.zeros((height, width), bool)
        if asked is not None:
            asked_N2 = asked.asked(i)
            exclude_HW[asked_N2[:, 0], asked_N2[:, 1]] = True
        chosen_N2 = select_pixels(
            np.zeros((height, width), np.float32),
            budget,
            top_fraction=1.0,
            exclude_HW=exclude_HW,
            rng=seeding.generator(config.seed, "select", round=round, image_id=image_id),
        )
        names += [image_id] * len(chosen_N2)
        points.append(chosen_N2)
    points_N2 = np.concatenate(points)
    ranks = np.concatenate([np.arange(len(chosen_N2)) for chosen_N2 in points])
    return pa.table(
        {
            "image_id": names,
            "y": points_N2[:, 0],
            "x": points_N2[:, 1],
            "score": np.zeros(len(names), np.float32),
            "rank": ranks,
        }
    )
