"""How far a sweep is, of which each point counts once."""

from pathlib import Path

import pytest
import tiny

from pipelines import active, report
from pipelines.config import load
from pipelines.ledger import Ledger
from pipelines.storage import open_storage
from pipelines.sweep.plan import listed_points, sweep_identity, trials
from pipelines.sweep.status import sweep_status
from weakseg.errors import LedgerError

POINTS = [{"loss.consistency": weight} for weight in (0.0, 0.1, 0.2)]
FIELDS = {"sweep__fields": "{loss.consistency: [0.0, 0.1, 0.2]}", "sweep__trials": "8", "sweep__seeds": "[0, 1]"}


def written(root: Path, *, search: str, asked: list[list[dict[str, float]]], done: list[dict[str, float]], **more: str):
    """What the status is of a sweep that was left with these points asked and done."""
    config = load("demo", tiny.overrides(root, run="sw", **{**FIELDS, "sweep__search": search, **more}), verb="sweep")
    settings = sweep_identity(config, "pool")
    with Ledger.open(open_storage(root), "sw", settings, config.model_dump(mode="json"), {}) as ledger:
        for number, batch in enumerate(asked):
            ledger.write_json(f"points/{number:04d}.json", batch)
        for trial in trials(config, done):
            ledger.write_json(f"trials/{trial.name}.json", {})
        ledger.write_bytes("best.yaml", b"")
        found = sweep_status(ledger, tiny.console())
    return found["step"], found["done"], found["planned"]


def test_a_random_search_of_a_small_space_is_finished_with_all_its_points(tmp_path: Path):
    assert written(tmp_path, search="random", asked=[], done=POINTS[:2]) == ("trials", 4, 6)
    assert written(tmp_path, search="random", asked=[], done=POINTS) == ("finished", 6, 6)


def test_what_optuna_asked_again_counts_once_and_what_it_has_yet_to_ask_as_new(tmp_path: Path):
    twice = [[POINTS[0], POINTS[1]], [POINTS[1], POINTS[0]]]
    assert written(tmp_path, search="optuna", asked=twice, done=POINTS[:2]) == ("trials", 4, 12)
    whole = [*twice, [POINTS[0], POINTS[2]], [POINTS[2], POINTS[1]]]
    assert written(tmp_path, search="optuna", asked=whole, done=POINTS) == ("finished", 6, 6)
    more = written(tmp_path, search="optuna", asked=whole, done=POINTS, sweep__trials="9")
    assert more == ("trials", 6, 8)


@pytest.mark.parametrize("verb", [active.evaluate_run, report.report])
def test_what_looks_at_rounds_tells_that_a_sweep_has_none(tmp_path: Path, verb):
    written(tmp_path, search="random", asked=[], done=POINTS[:1])
    with pytest.raises(
        LedgerError, match=r"^sw is a sweep, whose trials have the rounds: name one, as --set run=sw-\w+-s0$"
    ):
        verb(load("demo", tiny.overrides(tmp_path, run="sw")), tiny.console())


def test_a_status_needs_no_files_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"x")
    config = load(
        "demo",
        tiny.overrides(tmp_path, **{**FIELDS, "sweep__search": "random", "model__weights": str(weights)}),
        verb="sweep",
    )
    weights.unlink()
    assert len(listed_points(config)) == 3
