"""`weakseg evaluate --model`: a registered version on a pool, counted as a run's rounds are."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stored_run
import tiny

from pipelines import evaluate, judge
from pipelines.pool import Pool
from pipelines.serving.registered import fetch
from weakseg.datasets import Classes
from weakseg.errors import DataError, ResourceError
from weakseg.prediction import segment


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    return stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)[0]


@pytest.fixture
def uri(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"sqlite:///{root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def runs(root: Path) -> dict[str, int]:
    """Every file below a storage's runs, with its time."""
    return {str(path): path.stat().st_mtime_ns for path in (root / "runs").rglob("*") if path.is_file()}


@pytest.mark.ray
def test_on_its_own_pool_it_equals_the_rounds_evaluation_and_writes_nothing(
    ray_session: str, root: Path, uri: str
) -> None:
    settings = ["run=unheard-of", "data.images=14", f"data.size={list(stored_run.SIZE)}", "superpixels.segments=0"]
    settings += [f"storage.root={root}", "cluster.gpu=false", "training.augmentation.crop=null"]
    before = runs(root)
    command = [sys.executable, "-m", "pipelines", "evaluate", "--model", "models:/scenes@champion"]
    changes = [part for setting in settings for part in ("--set", setting)]
    finished = subprocess.run(
        [*command, "--config", "demo", "--json", *changes],
        env={**os.environ, "RAY_ADDRESS": ray_session},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    result = json.loads(finished.stdout.strip().splitlines()[-1])
    assert "models:/scenes/1 on pool" in finished.stdout
    assert runs(root) == before
    with stored_run.opened(root) as (plan, ledger):
        assert result["pool"] == ledger.pool.digest
        for split in ("val", "test"):
            expected = evaluate.run(plan, ledger, 1, split, console=tiny.console(), temperature=2.0)
            assert result[split] == json.loads(json.dumps(expected))


@pytest.mark.ray
def test_images_of_another_size_are_scored_as_they_are_predicted(
    ray_session: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = stored_run.config(tmp_path, "data.size=[72,100]", "superpixels.segments=0", f"tracking.uri={uri}")
    result = judge.evaluate_model(plan, tiny.console(), model="models:/scenes/1")
    assert not (tmp_path / "runs").exists()
    found = fetch("models:/scenes/1", uri)
    from pipelines.masks import MaskReader
    from pipelines.rounds import ready_model

    pool = Pool(evaluate_storage(tmp_path), result["pool"])
    index, masks = pool.index("val"), MaskReader(pool)
    rows = [row for part in index.parts() for row in pool.images(part, split="val")]
    right = known = 0
    predictions = segment(ready_model(found.spec, found.weights), [row.image for row in rows], view=found.view)
    for row, prediction in zip(rows, predictions, strict=True):
        target_HW = masks.mask(row.image_id)
        assert prediction.mask.shape == target_HW.shape == (72, 100)
        right += int(((prediction.mask == target_HW) & (target_HW != 255)).sum())
        known += int((target_HW != 255).sum())
    assert result["val"]["pixel_accuracy"] == pytest.approx(right / known, abs=1e-3)
    assert result["val"]["images"] == len(rows)


def evaluate_storage(root: Path) -> Any:
    from pipelines.storage import open_storage

    return open_storage(root)


def test_other_classes_are_refused(root: Path, uri: str) -> None:
    found = fetch("models:/scenes/1", uri)
    with stored_run.opened(root) as (_, ledger):
        judge._refuse_other_classes(found, ledger.pool)

        class Other:
            digest = "abc"
            classes = Classes(found.classes.names[::-1], found.classes.colors)

        with pytest.raises(DataError, match=r"models:/scenes/1 has 6 classes .*, pool abc has 6 .*order must agree"):
            judge._refuse_other_classes(found, Other())


def test_no_such_model_is_told_before_anything_is_started(
    root: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge.resources, "connect", lambda *_, **__: pytest.fail("Ray would be started"))
    with pytest.raises(ResourceError, match="models:/scenes@nobody"):
        judge.evaluate_model(stored_run.config(tmp_path), tiny.console(), model="models:/scenes@nobody")
