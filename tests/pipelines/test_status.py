import shutil
from pathlib import Path
from typing import Any

import pytest
import stored_run

from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.status import status
from weakseg.errors import LedgerError


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("status")
    stored_run.write(root)
    for number in range(2):
        (root / f"runs/stored/rounds/00{number}/train").mkdir()
        (root / f"runs/stored/rounds/00{number}/train/history.json").write_text("[]")
    (root / "runs/stored/rounds/000/scored.parquet").write_bytes(b"")
    (root / "runs/stored/report.html").write_text("<html>")
    return root


@pytest.fixture
def root(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "root"))


def asked(root: Path) -> dict[str, Any]:
    return status(stored_run.config(root), Console())


def test_a_finished_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = asked(root)
    assert result | {"seconds": None} == {
        "run": "stored",
        "step": "finished",
        "round": None,
        "rounds": 2,
        "planned": 2,
        "owner": None,
        "labels": 80,
        "seconds": None,
        "miou": 0.375,
        "report": str(root / "runs/stored/report.html"),
    }
    assert result["seconds"] == pytest.approx(80 * 1.42, abs=1e-3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "stored: finished, 2 of 2 rounds finished"
    assert lines[1] == "working on it: nobody"
    assert lines[2] == "labels: 80, annotation time 1 min 54 s"
    assert lines[3] == "validation mIoU: 37.5"


@pytest.mark.parametrize(
    ("gone", "step", "round", "labels"),
    [
        (["report.html"], "register and report", None, 80),
        (["report.html", "rounds/001/_SUCCESS"], "evaluate", 1, 80),
        (["rounds/001/_SUCCESS", "rounds/001/train/history.json"], "train", 1, 80),
        (["report.html", "rounds/001/_SUCCESS", "rounds/001/labels.parquet"], "annotate", 1, 40),
        (["report.html", "rounds/001"], "select", 1, 40),
        (["report.html", "rounds/001", "rounds/000/scored.parquet"], "score", 1, 40),
        (["rounds/001"], "finished", None, 40),  # stopped before its last planned round
        (["report.html", "rounds/001", "rounds/000/_SUCCESS"], "evaluate", 0, 40),
        (["report.html", "rounds"], "select", 0, 0),
    ],
)
def test_the_step_is_the_first_without_its_artefact(
    root: Path, gone: list[str], step: str, round: int | None, labels: int
) -> None:
    for name in gone:
        path = root / "runs/stored" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    result = asked(root)
    assert (result["step"], result["round"], result["labels"]) == (step, round, labels)


@pytest.mark.parametrize(
    ("changes", "step", "round"),
    [
        ({"labelling": {"rounds": 3}}, "score", 2),
        ({"labelling": {"rounds": 3}, "stop": {"budget": 80}}, "finished", None),
    ],
)
def test_a_reported_run_that_is_given_more_rounds_is_not_finished_before_they_end(
    root: Path, changes: dict[str, dict[str, int]], step: str, round: int | None
) -> None:
    with stored_run.opened(root) as (_, ledger):
        record = ledger.record
    plain = {**record["config"], **{name: {**record["config"][name], **values} for name, values in changes.items()}}
    with Ledger.open(ledger.storage, "stored", record["identity"], plain, record["versions"]):
        pass
    result = asked(root)
    assert (result["step"], result["round"], result["planned"]) == (step, round, 3)


def test_nothing_is_measured_before_the_first_evaluation(root: Path) -> None:
    shutil.rmtree(root / "runs/stored/rounds")
    result = asked(root)
    assert (result["rounds"], result["seconds"], result["miou"]) == (0, 0.0, None)


def test_a_driver_at_work_is_named_and_not_disturbed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with stored_run.opened(root) as (_, ledger):
        result = asked(root)
        assert result["owner"]["alive"]
        assert result["step"] == "register and report"
        ledger.write_json("still", {})
    assert "working on it: process" in capsys.readouterr().out


def test_an_unknown_run_is_named_with_the_known(root: Path) -> None:
    with pytest.raises(LedgerError, match="no run other .* there are: stored"):
        status(stored_run.config(root, "run=other"), Console())
