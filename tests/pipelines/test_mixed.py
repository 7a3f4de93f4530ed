"""Every kind of supervision in one run, end to end on Ray: killed, resumed, registered."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny
from layouts import picture
from PIL import Image

from weakseg.codec import read_mask

pytestmark = pytest.mark.ray

KILLER = Path(__file__).parents[1] / "killed_driver.py"

MIXED = {
    "model__architecture": "fcn16",
    "model__upsampling": "superpixel",
    "model__dropout": "0.1",
    "supervision__proportions": "masks",
    "supervision__coarse": "masks",
    "supervision__coarsening__erosion": "1",
    "supervision__masks": "true",
    "supervision__share__masks": "0.2",
    "supervision__keypoints": "labels",
    "supervision__spread": "segment",
    "loss__consistency": "0.1",
    "loss__assignment": "0.05",
    "training__early_stopping": "{patience: 2}",
    "labelling__committee": "{passes: 2, vote: hard}",
    "labelling__one_per_segment": "true",
    "labelling__image_fraction": "0.5",
}

REGIONS = {
    "data__layout": "folder",
    "data__images": "null",
    "model__architecture": "unet_spss",
    "model__encoder": "null",
    "model__filters": "4",
    "model__classes": "1",
    "supervision__proportions": "masks",
    "labelling__acquisition": "region",
    "labelling__pixels_per_image": "2",
}


def _rows(root: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(root / "runs" / "tiny" / "rounds" / name).to_pylist()


@pytest.mark.timeout(600)
def test_all_kinds_at_once_killed_and_resumed(ray_session: str, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, str(KILLER), "train", "1", *tiny.command("active", tmp_path, **MIXED)[3:]],
        env={**os.environ, "RAY_ADDRESS": ray_session, "PYTHONPATH": str(KILLER.parents[1])},
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-3000:]
    asked = _rows(tmp_path, "001/queries.parquet")
    result = tiny.run("active", tmp_path, address=ray_session, **MIXED)
    assert _rows(tmp_path, "001/queries.parquet") == asked

    first, second = result["rounds"]
    assert [metrics["labels_per_image"] for metrics in result["rounds"]] == [5.0, 10.0]
    assert {row["strategy"] for row in asked} == {"margin (hard vote)"}
    images = {row["image_id"] for row in _rows(tmp_path, "000/queries.parquet")}
    assert images == {row["image_id"] for row in asked}
    assert len(asked) == 5 * 2 * len(images) or len(asked) == 5 * (2 * len(images) - 1)
    assert second["bill"].keys() == {"points", "masks", "proportions", "coarse"}
    assert second["seconds"] == pytest.approx(sum(second["bill"].values()))
    assert second["seconds"] - first["seconds"] == pytest.approx(1.42 * len(asked), rel=1e-5)
    for kind in ("spread", "coarse"):
        assert 0 <= second["label_errors"][kind]["share"] < 1
        assert second["label_errors"][kind]["labelled"] > 0
    found = second["validation"]
    assert 0 < found["assignment_accuracy"] <= 1
    assert 0 < found["superpixels"]["achievable_accuracy"] <= 1
    assert 0 <= found["calibration"]["ece"] <= 1
    assert found["calibration"]["nll_scaled"] <= found["calibration"]["nll"] + 1e-6
    assert (
        result["test"]["calibration"]["temperature"]
        == result["rounds"][result["test"]["round"]]["validation"]["calibration"]["temperature"]
    )
    history = (tmp_path / "runs" / "tiny" / "rounds" / "001" / "train" / "history.json").read_text()
    for term in ("point", "mask", "proportion", "keypoint", "consistency", "assignment"):
        assert f'"loss_{term}"' in history
    assert '"val_loss"' in history
    assert result["model"]["version"] == 1
    assert "Reliability" in Path(result["report"]).read_text()


@pytest.mark.long
def test_regions_on_two_classes(ray_session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _two_classes(tmp_path / "data")
    root = tmp_path / "root"
    result = tiny.run("active", root, address=ray_session, data__path=str(data), **REGIONS)
    rounds = [_rows(root, f"00{number}/labels.parquet") for number in range(2)]
    assert {row["kind"] for rows in rounds for row in rows} == {"region"}
    regions = {(row["image_id"], row["segment"]) for rows in rounds for row in rows}
    assert len(regions) == len(rounds[0]) + len(rounds[1]) == 2 * len(rounds[0])
    assert {row["class_id"] for rows in rounds for row in rows} <= {0, 1, 255}
    assert len(result["rounds"][1]["validation"]["iou"]) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/tiny@champion")
    image = next((data / "images").iterdir()).read_bytes()
    answer = model.predict(pd.DataFrame({"image": [image]}), params={"probabilities": True})
    mask_HW = read_mask(answer["mask"][0])
    assert mask_HW.shape == (48, 64)
    assert set(np.unique(mask_HW).tolist()) <= {0, 1}


def _two_classes(folder: Path) -> Path:
    """Sixteen images with a bright rectangle as foreground."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(16):
        image, mask = picture(f"cell {number}", 48, 64) // 2, np.zeros((48, 64), np.uint8)
        mask[10 : 20 + number, 5:30] = 1
        image[mask == 1] += 120
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    (folder / "classes.yaml").write_text(
        'classes:\n- {name: background, color: "#000000"}\n- {name: cell, color: "#FFFFFF"}\n'
    )
    return folder
