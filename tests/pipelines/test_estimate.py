"""The accuracy from held-out points: what the stage does with what its actors say."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny

from pipelines import estimate
from weakseg.schema import LABELS


class Held:
    """Two held-out images of 10x10."""

    image_ids = pa.array(["a", "b"])
    heights = widths = np.array([10, 10])

    def __len__(self) -> int:
        return 2

    def parts(self) -> list[int]:
        return [0, 1]


def estimated(monkeypatch: pytest.MonkeyPatch, tmp_path, tables: list[pa.Table]) -> dict[str, Any] | None:
    monkeypatch.setattr(estimate, "checks", lambda ledger, round: LABELS.empty_table())
    monkeypatch.setattr(estimate, "model_files", lambda ledger, round: {})
    monkeypatch.setattr(estimate, "over_parts", lambda *_: iter(tables))
    ledger = SimpleNamespace(pool=SimpleNamespace(index=lambda split: Held()))
    return estimate.run(tiny.config(tmp_path), ledger, 0, console=tiny.console())


def test_where_no_point_was_answered_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    assert estimated(monkeypatch, tmp_path, []) is None


def test_parts_may_come_in_any_order(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    first = pa.table({"image": [0, 0], "correct": [True, False]})
    second = pa.table({"image": [1], "correct": [True]})
    found = [estimated(monkeypatch, tmp_path, tables) for tables in ([first, second], [second, first])]
    assert found[0] == found[1]
    assert found[0] is not None
    assert (found[0]["points"], found[0]["images"]) == (3, 2)
    assert found[0]["accuracy"] == pytest.approx(0.75)
