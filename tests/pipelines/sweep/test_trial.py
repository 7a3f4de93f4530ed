from pathlib import Path

import pytest

from pipelines.ledger import Lease
from pipelines.storage import open_storage
from pipelines.sweep.trial import outcome, outwait
from weakseg.errors import LedgerError


def test_an_outcome_is_of_the_last_round():
    scores = {"miou": 0.4, "boundary": {"f1": 0.2}}
    rounds = [{"validation": {}, "seconds": 1.0, "labels": 5}, {"validation": scores, "seconds": 9.0, "labels": 10}]
    found = outcome(rounds, "boundary_f1", took=1.23)
    assert found == {
        "score": 0.2, "miou": 0.4, "boundary_f1": 0.2, "seconds": 9.0, "labels": 10, "rounds": 2, "took": 1.2,
    }  # fmt: skip
    assert outcome([{"validation": None, "seconds": 0.0, "labels": 0}], "miou", took=0.0)["score"] is None


def test_a_run_that_someone_else_works_on_is_refused_in_the_end(tmp_path: Path):
    storage = open_storage(tmp_path)
    outwait(storage, "free", seconds=0.0)
    lease = Lease(storage, "held")
    lease.acquire()
    try:
        with pytest.raises(LedgerError, match="run held is owned by process"):
            outwait(storage, "held", seconds=0.0)
    finally:
        lease.release()
    outwait(storage, "held", seconds=0.0)
