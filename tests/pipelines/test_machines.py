"""Machines that are taken away while they work: a Ray of a head without CPUs and two or three small nodes."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.ray

DRIVER = Path(__file__).parents[1] / "counted_driver.py"
SMALL = {"data__images": "24", "training__batch_size": "5", "training__epochs": "3"}
ROUNDS = [Path("runs", "tiny", "rounds", round) for round in ("000", "001")]


@contextmanager
def cluster_of(nodes: int) -> Iterator[Cluster]:
    """A cluster of its own, beside the session's Ray: a head for the driver, and nodes of one CPU each."""
    # a lost node is noticed at once, where the default takes half a minute
    config = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 100 * 2**20, "_system_config": config},
    )
    try:
        for _ in range(nodes):
            add(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


def remove(cluster: Cluster, node_id: str) -> None:
    """As a spot machine goes: all at once."""
    (node,) = [node for node in cluster.worker_nodes if node.node_id == node_id]
    cluster.remove_node(node, allow_graceful=False)


@contextmanager
def driver(cluster: Cluster, folder: Path, stage: str, after: int, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """The command line on the cluster, held in a stage; ended with the block."""
    folder.mkdir(exist_ok=True)
    arguments = tiny.command("active", folder / "root", **{**SMALL, **changes})[3:]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(folder), stage, str(after), *arguments],
            env={**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": str(DRIVER.parents[1])},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def held(folder: Path, process: subprocess.Popen[str]) -> str:
    """Wait until a piece of work is held; the node that it runs on."""
    while not (folder / "held").exists():
        assert process.poll() is None, (folder / "errors").read_text()[-4000:]
        time.sleep(0.1)
    return (folder / "held").read_text()


def trained(folder: Path) -> list[tuple[int, int]]:
    """Every finished epoch and the number of workers that trained it."""
    return [(piece, workers) for stage, piece, _, workers in work(folder) if stage == "train"]


def until_trained(epoch: int, folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until an epoch is finished."""
    while epoch not in dict(trained(folder)):
        assert process.poll() is None, (folder / "errors").read_text()[-4000:]
        time.sleep(0.1)


def finish(folder: Path, process: subprocess.Popen[str]) -> None:
    """Let go of what is held, and wait for the driver to end well."""
    (folder / "released").touch()
    assert process.wait(timeout=400) == 0, (folder / "errors").read_text()[-4000:]


def work(folder: Path) -> list[tuple[str, int, str, int]]:
    """Every finished piece: stage, piece, node, workers."""
    rows = [line.split() for line in (folder / "work").read_text().splitlines()]
    return [(stage, int(piece), node, int(workers)) for stage, piece, node, workers in rows]


def check_labels(root: Path) -> None:
    """One label per query and no pixel asked twice, in both rounds."""
    asked: list[tuple[Any, ...]] = []
    for round in ROUNDS:
        columns = ["image_id", "y", "x"]
        queries, labels = (
            pq.read_table(root / round / f"{name}.parquet").to_pylist() for name in ("queries", "labels")
        )
        pixels = sorted(tuple(row[name] for name in columns) for row in queries)
        assert sorted(tuple(row[name] for name in columns) for row in labels) == pixels
        assert len(pixels) == len({row["image_id"] for row in queries}) * 5
        asked += pixels
    assert len(set(asked)) == len(asked)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_elastic_workers_lose_a_machine_and_get_another(tmp_path: Path) -> None:
    """Two workers, then one, then two again; every epoch is trained to its end once."""
    elastic = {"cluster__workers": "[1, 2]", "labelling__rounds": "1"}
    with cluster_of(2) as cluster, driver(cluster, tmp_path, "train", 1, **elastic) as process:
        remove(cluster, held(tmp_path, process))  # who is left trains one more epoch and is held too
        until_trained(2, tmp_path, process)
        add(cluster)
        until_trained(3, tmp_path, process)
        finish(tmp_path, process)
    assert trained(tmp_path) == [(1, 2), (2, 1), (3, 2)]
    history = (tmp_path / "root" / ROUNDS[0] / "train" / "history.json").read_text()
    assert history.count('"epoch"') == 3


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run on machines that stay."""
    folder = tmp_path_factory.mktemp("whole")
    with cluster_of(3) as cluster, driver(cluster, folder, "nothing", 0, cluster__workers="2") as process:
        finish(folder, process)
    return folder


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("stage", "after"), [("prepare", 2), ("train", 2), ("score", 2)])
def test_a_machine_lost_changes_nothing(uninterrupted: Path, tmp_path: Path, stage: str, after: int) -> None:
    with cluster_of(3) as cluster, driver(cluster, tmp_path, stage, after, cluster__workers="2") as process:
        lost = held(tmp_path, process)
        before = work(tmp_path)
        times = _times(tmp_path / "root")
        remove(cluster, lost)
        add(cluster)
        finish(tmp_path, process)
    # what was finished and committed is neither made again nor touched
    done = Counter((stage, piece) for stage, piece, _, _ in work(tmp_path))
    again = {key for key, count in done.items() if count > 1}
    assert not again & {(name, piece) for name, piece, _, _ in before if name in ("prepare", "train")}
    assert again <= {("score", piece) for name, piece, node, _ in before if (name, node) == ("score", lost)}
    assert set(done) == {(name, piece) for name, piece, _, _ in work(uninterrupted)}
    after_times = _times(tmp_path / "root")
    assert {key: after_times[key] for key in times} == times
    # and the result is the same
    check_labels(tmp_path / "root")
    for round in ROUNDS:
        for name in ("queries.parquet", "scored.parquet"):
            if (uninterrupted / "root" / round / name).exists():
                mine, whole = (pq.read_table(folder / "root" / round / name) for folder in (tmp_path, uninterrupted))
                assert mine.equals(whole)
        for name in ("metrics.json", "model.safetensors", "train/history.json"):
            mine, whole = ((folder / "root" / round / name).read_bytes() for folder in (tmp_path, uninterrupted))
            assert mine == whole, name


@pytest.fixture(scope="module")
def scores(uninterrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The last mIoU of runs on machines that stay, each with a seed of its own."""
    folders = [uninterrupted]
    with cluster_of(3) as cluster:
        for seed in range(1, 4):
            folders.append(tmp_path_factory.mktemp(f"seed-{seed}"))
            with driver(cluster, folders[-1], "nothing", 0, cluster__workers="2", seed=str(seed)) as process:
                finish(folders[-1], process)
    return [last_miou(folder) for folder in folders]


def last_miou(folder: Path) -> float:
    """In percent, on validation."""
    metrics = json.loads((folder / "root" / ROUNDS[-1] / "metrics.json").read_text())
    return 100 * metrics["validation"]["miou"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_elastic_workers_keep_every_label(uninterrupted: Path, scores: list[float], tmp_path: Path) -> None:
    """A machine is lost in round 1, and another comes: the same labels, and no other mIoU than without."""
    with cluster_of(2) as cluster, driver(cluster, tmp_path, "train", 4, cluster__workers="[1, 2]") as process:
        remove(cluster, held(tmp_path, process))
        until_trained(102, tmp_path, process)
        add(cluster)
        until_trained(103, tmp_path, process)
        finish(tmp_path, process)
    check_labels(tmp_path / "root")
    assert trained(tmp_path) == [(1, 2), (2, 2), (3, 2), (101, 2), (102, 1), (103, 2)]
    assert abs(last_miou(tmp_path) - statistics.mean(scores)) <= 2 * statistics.stdev(scores), scores
    first = ROUNDS[0] / "queries.parquet"  # drawn at random, before anything was trained
    assert pq.read_table(tmp_path / "root" / first).equals(pq.read_table(uninterrupted / "root" / first))


def _times(root: Path) -> dict[str, int]:
    """When each artefact of the pool and of the rounds was written, runs of Ray Train aside."""
    files = [*root.glob("pools/*/*/**/part-*"), *root.glob("runs/tiny/rounds/*/*.*")]
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file() and not path.name.startswith(".")}
