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

from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.parts import load_model, model_files, over_parts
from pipelines.pool import Pool
from pipelines.storage import Storage
from weakseg import seeding
from weakseg.acquisition import entropy, scores_from_logits
from weakseg.inference import logits
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
        storage: Storage,
        pool: str,
        model: Mapping[str, Any],
        asked: ray.ObjectRef,
        acquisition: str,
        budget: int,
        top_fraction: float,
        seed: int,
        round: int,
    ) -> None:
        """Load the model and the pixels that were asked before."""
        self._pool, self._model = Pool(storage, pool), load_model(model)
        self._asked: PointIndex = ray.get(asked)
        self._acquisition, self._budget, self._top_fraction = acquisition, budget, top_fraction
        self._seed, self._round = seed, round

    def __call__(self, part: int) -> pa.Table:
        """Choose the pixels of the part's training images."""
        columns: dict[str, list[np.ndarray]] = {field.name: [] for field in SCORED if field.name != "image_id"}
        names: list[str] = []
        rows = list(self._pool.images(part, split="train"))
        device = next(self._model.parameters()).device
        for row, logits_CHW in zip(rows, logits(self._model, (row.image for row in rows), device=device), strict=True):
            scores_HW = scores_from_logits(self._acquisition, logits_CHW[None])[0].cpu().numpy()
            exclude_HW = np.zeros(scores_HW.shape, bool)
            asked_N2 = self._asked.asked(row.index)
            exclude_HW[asked_N2[:, 0], asked_N2[:, 1]] = True
            chosen_N2 = select_pixels(
                scores_HW,
                self._budget,
                top_fraction=self._top_fraction,
                exclude_HW=exclude_HW,
                rng=seeding.generator(self._seed, "select", round=self._round, image_id=row.image_id),
            )
            y, x = chosen_N2[:, 0], chosen_N2[:, 1]
            probabilities_1CN1 = logits_CHW[:, y, x].float().softmax(0)[None, :, :, None]
            names += [row.image_id] * len(y)
            columns["index"].append(np.full(len(y), row.index, np.int64))
            columns["y"].append(y.astype(np.int32))
            columns["x"].append(x.astype(np.int32))
            columns["score"].append(scores_HW[y, x].astype(np.float32))
            columns["entropy"].append(entropy(probabilities_1CN1)[0, :, 0].cpu().numpy())
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
    index = ledger.pool.index("train")
    asked = ray.put(PointIndex(index.image_ids, ledger.labels(round)))
    arguments = {
        "storage": ledger.storage,
        "pool": ledger.pool.digest,
        "model": model_files(ledger, round),
        "asked": asked,
        "acquisition": config.labelling.acquisition,
        "budget": config.labelling.pixels_per_image,
        "top_fraction": config.labelling.top_fraction,
        "seed": config.seed,
        "round": round + 1,
    }
    parts = index.parts()
    tables = []
    with console.stage(f"round {round}: score", total=len(parts)) as stage:
        for table in over_parts(config, parts, Scorer, arguments):
            tables.append(table)
            stage.advance(1)
    scored = pa.concat_tables(tables).sort_by([("index", "ascending"), ("rank", "ascending")])
    ledger.write_table(key, scored)
    return scored
