"""The score stage: the round's model over the training images, reduced to the pixels it would ask next.

The score map of an image never leaves its actor: the pixels are chosen there, per image, by a draw that depends on
the seed, the round and the image alone. So the selection is the same whatever the number of actors or the order of
the parts, and memory does not grow with the pool.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from pipelines import regions
from pipelines.budgets import image_budgets
from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.members import Voting
from pipelines.parts import batch_size, grouped, load_model, model_files, over_parts
from pipelines.pool import Pool
from weakseg import seeding
from weakseg.acquisition import entropy
from weakseg.selection import select_pixels
from weakseg.supervision import PointIndex

SCORED = pa.schema(
    [
        ("index", pa.int64()),
        ("image_id", pa.string()),
        ("y", pa.int32()),
        ("x", pa.int32()),
        ("score", pa.float32()),
        ("entropy", pa.float32()),
        ("rank", pa.int32()),
    ]
)


class Scorer:
    """Scores one part and chooses its pixels."""

    def __init__(
        self,
        pool: Pool,
        model: Mapping[str, Any],
        asked: ray.ObjectRef,
        voting: Voting,
        budgets_N: np.ndarray,
        top_fraction: float,
        one_per_segment: bool,
        seed: int,
        round: int,
    ) -> None:
        """Load the model and the pixels that were asked before."""
        self._pool, self._model = pool, load_model(model)
        self._asked: PointIndex = ray.get(asked)
        self._voting, self._budgets_N, self._top_fraction = voting, budgets_N, top_fraction
        self._one_per_segment, self._seed, self._round = one_per_segment, seed, round

    def __call__(self, part: int) -> pa.Table:
        """Choose the pixels of the part's training images."""
        columns: dict[str, list[np.ndarray]] = {field.name: [] for field in SCORED if field.name != "image_id"}
        names: list[str] = []
        found = self._pool.images(part, split="train", segments=self._one_per_segment)
        for group in grouped(found):
            rows = [row for row in group if self._budgets_N[row.index] > 0]
            size = batch_size(self._pool)
            scores = self._voting.scores(self._model, rows, round=self._round, batch_size=size)
            for row, (map_HW, probabilities_at) in zip(rows, scores, strict=True):
                scores_HW = map_HW.cpu().numpy()
                exclude_HW = np.zeros(scores_HW.shape, bool)
                asked_N2 = self._asked.asked(row.index)
                exclude_HW[asked_N2[:, 0], asked_N2[:, 1]] = True
                chosen_N2 = select_pixels(
                    scores_HW,
                    int(self._budgets_N[row.index]),
                    top_fraction=self._top_fraction,
                    exclude_HW=exclude_HW,
                    segments_HW=row.segments,
                    rng=seeding.generator(self._seed, "select", round=self._round, image_id=row.image_id),
                )
                y, x = chosen_N2[:, 0], chosen_N2[:, 1]
                entropy_N = np.full(len(y), np.nan, np.float32)
                if probabilities_at is not None:
                    entropy_N = entropy(probabilities_at(y, x)[None, :, :, None])[0, :, 0].cpu().numpy()
                names += [row.image_id] * len(y)
                columns["index"].append(np.full(len(y), row.index, np.int64))
                columns["y"].append(y.astype(np.int32))
                columns["x"].append(x.astype(np.int32))
                columns["score"].append(scores_HW[y, x].astype(np.float32))
                columns["entropy"].append(entropy_N)
                columns["rank"].append(np.arange(len(y), dtype=np.int32))
        arrays = {name: np.concatenate(values) if values else [] for name, values in columns.items()}
        return pa.table({**arrays, "image_id": names}).select(SCORED.names).cast(SCORED)


def run(config: Config, ledger: Ledger, round: int, *, console: Console) -> pa.Table:
    """Score the pool with the round's model, once.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Whose model scores; the pixels chosen are asked in the round after it.
        console: Where progress goes.

    Returns:
        The chosen pixels with their scores, in the pool's order.
    """
    key = f"{ledger.round(round)}/scored.parquet"
    if ledger.exists(key):
        return ledger.read_table(key)
    labels, files = ledger.labels(round), model_files(ledger, round)
    if config.labelling.acquisition == "region":
        scored = regions.choose(config, ledger, round=round + 1, model=files, labels=labels, console=console)
    else:
        scored = _pixels(config, ledger, round, labels, files, console)
    ledger.write_table(key, scored)
    return scored


def _pixels(
    config: Config, ledger: Ledger, round: int, labels: pa.Table, files: Mapping[str, Any], console: Console
) -> pa.Table:
    """The most uncertain pixels of each image."""
    labelling, index = config.labelling, ledger.pool.index("train")
    arguments = {
        "pool": ledger.pool,
        "model": files,
        "asked": ray.put(PointIndex(index.image_ids, labels)),
        "voting": Voting.of(config),
        "budgets_N": image_budgets(config, index.image_ids.to_pylist()),
        "top_fraction": labelling.top_fraction,
        "one_per_segment": labelling.one_per_segment,
        "seed": config.seed,
        "round": round + 1,
    }
    parts = index.parts()
    tables = [SCORED.empty_table()]  # parts with nothing left to ask do not come back
    with console.stage(f"round {round}: score", total=len(parts)) as stage:
        for table in over_parts(config, parts, Scorer, arguments):
            tables.append(table)
            stage.advance(1)
    return pa.concat_tables(tables).sort_by([("index", "ascending"), ("rank", "ascending")])
