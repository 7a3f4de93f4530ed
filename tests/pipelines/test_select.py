"""The select stage: random rounds need no model, ask nothing twice and depend on the seed alone."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny

from pipelines import select
from weakseg.schema import QUERIES

pytestmark = pytest.mark.ray


def test_first_round_is_uniform_per_image(finished_run: tuple[Path, dict[str, Any]]) -> None:
    with tiny.reopened(finished_run[0]) as (config, ledger):
        queries = select.run(config, ledger, 0, console=tiny.console())
        drawn = select._draw(config, ledger, 0)
        labelling = config.labelling.model_copy(update={"pixels_per_image": 400})
        many = select._draw(config.model_copy(update={"labelling": labelling}), ledger, 0)
        image_ids = ledger.pool.index("train").image_ids.to_pylist()
    assert queries.schema == QUERIES
    assert set(queries["strategy"].to_pylist()) == {"random"}
    assert drawn["y"].to_pylist() == queries["y"].to_pylist()
    assert drawn["x"].to_pylist() == queries["x"].to_pylist()
    for table, each in ((drawn, 5), (many, 400)):
        assert Counter(table["image_id"].to_pylist()) == dict.fromkeys(image_ids, each)
        places = set(zip(*(table[name].to_pylist() for name in ("image_id", "y", "x")), strict=True))
        assert len(places) == table.num_rows
        assert all(0 <= y < 48 and 0 <= x < 64 for _, y, x in places)
    # 400 of 3072 pixels of each image: a quarter of them in each quarter
    quarters = Counter((y // 24, x // 32) for y, x in zip(many["y"].to_pylist(), many["x"].to_pylist(), strict=True))
    assert all(abs(count / many.num_rows - 0.25) < 0.05 for count in quarters.values())
    assert len(quarters) == 4


def test_later_rounds_take_the_scored_pixels(finished_run: tuple[Path, dict[str, Any]]) -> None:
    with tiny.reopened(finished_run[0]) as (config, ledger):
        queries = select.run(config, ledger, 1, console=tiny.console())
        scored = ledger.read_table("rounds/000/scored.parquet")
    assert set(queries["strategy"].to_pylist()) == {"margin"}
    for name in ("image_id", "y", "x", "score", "rank"):
        assert queries[name].to_pylist() == scored[name].to_pylist()


def test_random_rounds_avoid_what_was_asked(finished_run: tuple[Path, dict[str, Any]]) -> None:
    with tiny.reopened(finished_run[0]) as (config, ledger):
        drawn = select._draw(config, ledger, 2)
        asked = ledger.labels(1)
    new, old = (
        {(row["image_id"], row["y"], row["x"]) for row in table.select(["image_id", "y", "x"]).to_pylist()}
        for table in (drawn, asked)
    )
    assert len(new) == drawn.num_rows
    assert not new & old


def test_only_model_strategies_need_scores(finished_run: tuple[Path, dict[str, Any]]) -> None:
    with tiny.reopened(finished_run[0]) as (config, _):
        assert not select.needs_scores(config, 0)
        assert select.needs_scores(config, 1)
        random = config.model_copy(update={"labelling": config.labelling.model_copy(update={"acquisition": "random"})})
        assert not select.needs_scores(random, 1)
