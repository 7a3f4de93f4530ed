"""The annotate stage: the oracle answers every query once, and only where it is asked."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from pipelines import annotate
from pipelines.masks import MaskReader

pytestmark = pytest.mark.ray


def test_answers_are_the_masks_classes(finished_run: tuple[Path, dict[str, Any]]) -> None:
    with tiny.reopened(finished_run[0]) as (_, ledger):
        masks = MaskReader(ledger.pool)
        for row in ledger.labels().to_pylist():
            assert row["class_id"] == masks.mask(row["image_id"])[row["y"], row["x"]]
            assert row["seconds"] == pytest.approx(1.42)


def test_durable_answers_are_not_asked_again(finished_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root = shutil.copytree(finished_run[0], tmp_path / "copy")
    shutil.rmtree(root / "pools" / next((root / "pools").iterdir()).name / "masks", ignore_errors=True)
    with tiny.reopened(root) as (config, ledger):
        # No mask is left to look at: the answers come from the ledger.
        assert annotate.run(config, ledger, 1).equals(ledger.read_table("rounds/001/labels.parquet"))
