import json

import pytest

from benchmarks.studies.fork import ARTEFACTS, differing, fork
from pipelines.ledger import Ledger
from pipelines.storage import open_storage
from pipelines.versions import versions

IDENTITY = {"pool": "abc", "seed": 1, "labelling.acquisition": "random", "training.augmentation.scale": (0.5, 2.0)}


@pytest.fixture
def root(tmp_path):
    """A storage with one finished run."""
    folder = tmp_path / "runs" / "random-s1" / "rounds" / "000"
    for name in (*ARTEFACTS, "scored.parquet", "_SUCCESS"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "runs" / "random-s1" / "run.json").write_text(json.dumps({"identity": IDENTITY}))
    return tmp_path


def margin(**changes):
    return {**IDENTITY, "labelling.acquisition": "margin", **changes}


def test_round_0_is_taken_over_without_what_depends_on_the_acquisition(root):
    assert fork(root, "random-s1", "margin-s1", margin(), {})
    folder = root / "runs" / "margin-s1"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"run.json", *(f"rounds/000/{name}" for name in ARTEFACTS)}
    assert (folder / "rounds/000/labels.parquet").read_text() == "labels.parquet"
    settings = {"labelling": {"rounds": 3}}
    assert fork(root, "random-s1", "margin-s2", margin(), settings)
    with Ledger.open(open_storage(root), "margin-s2", margin(), settings, versions()) as ledger:
        assert ledger.record["amendments"] == []
        assert ledger.exists("rounds/000/queries.parquet")


def test_a_committee_shares_round_0_with_the_plain_prediction_of_its_model(root):
    path = root / "runs" / "random-s1" / "run.json"
    path.write_text(json.dumps({"identity": {**IDENTITY, "labelling.committee": None}}))
    committee = {"labelling.committee.passes": 20, "labelling.committee.vote": "hard"}
    assert fork(root, "random-s1", "margin-s1", margin(**committee), {})


def test_runs_that_differ_otherwise_share_nothing(root):
    for changes in ({"seed": 2}, {"pool": "other"}, {"training.epochs": 3}):
        assert not fork(root, "random-s1", "margin-s1", margin(**changes), {})
    assert not (root / "runs" / "margin-s1").exists()


def test_a_run_that_has_begun_is_left_alone(root):
    (root / "runs" / "margin-s1").mkdir()
    assert not fork(root, "random-s1", "margin-s1", margin(), {})
    assert not list((root / "runs" / "margin-s1").iterdir())


def test_an_unfinished_source_gives_nothing(root):
    (root / "runs" / "random-s1" / "rounds" / "000" / "metrics.json").unlink()
    assert not fork(root, "random-s1", "margin-s1", margin(), {})
    assert not fork(root, "random-s7", "margin-s1", margin(), {})


def test_a_fork_that_was_killed_is_made_anew(root):
    leftover = root / "forks" / "margin-s1" / "rounds" / "000"
    leftover.mkdir(parents=True)
    (leftover / "_SUCCESS").write_text("half")
    assert fork(root, "random-s1", "margin-s1", margin(), {})
    assert not (root / "runs" / "margin-s1" / "rounds" / "000" / "_SUCCESS").exists()


def test_differing_names_fields_of_either_and_takes_lists_for_tuples():
    assert differing({"a": 1, "b": [1, 2], "c": 0}, {"a": 2, "b": (1, 2), "d": None}) == ["a", "c", "d"]
