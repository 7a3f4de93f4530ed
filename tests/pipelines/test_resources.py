from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import resources
from pipelines.config import Config, load
from pipelines.machines import machines
from pipelines.storage import Storage, open_storage
from weakseg.errors import ResourceError


def plan(*overrides: str) -> Config:
    return load("demo", ["training.batch_size=64", *overrides])


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "root")


def cluster_of(
    monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, float], free: float | None = None, free_gpus: float | None = None
) -> None:
    """A cluster that only exists on paper, all of whose nodes answer."""
    alive = [
        {"Alive": True, "Resources": node, "NodeID": str(k), "NodeManagerHostname": "h"} for k, node in enumerate(nodes)
    ]
    dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}, "NodeID": "dead", "NodeManagerHostname": "dead"}
    total = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    monkeypatch.setattr(resources.ray, "nodes", lambda: [*alive, dead])
    monkeypatch.setattr(resources.ray, "cluster_resources", lambda: total)
    left = {
        "CPU": total["CPU"] if free is None else free,
        "GPU": total["GPU"] if free_gpus is None else free_gpus,
    }
    monkeypatch.setattr(resources.ray, "available_resources", lambda: left)
    monkeypatch.setattr(resources.node_probe, "faults", lambda storage, wait: [])
    monkeypatch.setattr(resources.node_probe, "gpu_fault", lambda wait: None)


def refusal(config: Config, storage: Storage, **options: float) -> str:
    with pytest.raises(ResourceError) as caught:
        resources.check(config, storage, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "overrides", "start"),
    [
        ([{"CPU": 2}], ["cluster.workers=[3, 9]"], "cluster.workers: 3 with 1 CPUs each"),
        (
            [{"CPU": 4}],
            ["cluster.workers=9"],
            "cluster.workers: 9 with 1 CPUs each (cluster.cpus_per_worker) do not fit",
        ),
        ([{"CPU": 3}] * 3, ["cluster.workers=4", "cluster.cpus_per_worker=2"], "cluster.workers: 4 with 2 CPUs each"),
        ([{"CPU": 4}], ["cluster.actors=4"], "cluster.actors: 4 with 1 CPUs each leave no CPU for the Ray Data tasks"),
        (
            [{"CPU": 4}],
            ["cluster.gpu=true", "cluster.workers=1"],
            "cluster.gpu: 1 workers and 1 actors need a GPU each, the cluster has 0",
        ),
        ([{"CPU": 2, "GPU": 2}, {"CPU": 8}], ["cluster.gpu=true", "cluster.workers=3"], "cluster.gpu: 3 workers"),
        (
            [{"CPU": 4, "GPU": 1}],
            ["training.precision=bf16", "cluster.gpu=null", "cluster.workers=2"],
            "training.precision: bf16 needs a GPU for each of 2 workers or actors, the cluster has 1; set it to fp32",
        ),
        (
            [{"CPU": 1, "GPU": 2}, {"CPU": 8}],
            ["cluster.gpu=true", "cluster.workers=2", "cluster.actors=1"],
            "cluster.workers: 2 with 1 CPUs each (cluster.cpus_per_worker) do not fit",
        ),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, nodes: list[dict[str, float]], overrides: list[str], start: str
):
    cluster_of(monkeypatch, *nodes)
    text = refusal(plan(*overrides), storage)
    assert text.startswith(start)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("nodes", "overrides"),
    [
        ([{"CPU": 2}], []),
        ([{"CPU": 3}], ["cluster.workers=2", "cluster.actors=2"]),
        ([{"CPU": 4}] * 2, ["cluster.workers=4", "cluster.cpus_per_worker=2"]),
        ([{"CPU": 3, "GPU": 2}], ["cluster.gpu=true", "cluster.workers=2"]),
        ([{"CPU": 3, "GPU": 2}], ["cluster.gpu=null", "cluster.workers=2", "training.precision=bf16"]),
        ([{"CPU": 2}], ["cluster.workers=[1, 9]"]),
    ],
)
def test_a_plan_that_fits_passes(monkeypatch: pytest.MonkeyPatch, storage: Storage, nodes: list, overrides: list[str]):
    cluster_of(monkeypatch, *nodes)
    resources.check(plan(*overrides), storage)


def test_what_was_trained_in_half_precision_may_be_scored_without_gpus(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
):
    cluster_of(monkeypatch, {"CPU": 4})
    halves = plan("training.precision=bf16", "cluster.gpu=null")
    assert refusal(halves, storage).startswith("training.precision: bf16 needs a GPU for each of 2 workers or actors")
    resources.check(halves, storage, trains=False)


def test_machines_that_an_autoscaler_may_start_count(monkeypatch: pytest.MonkeyPatch, storage: Storage):
    cluster_of(monkeypatch, {"CPU": 0.0}, {"CPU": 4.0})
    kinds = [({"CPU": 4.0}, 2), ({"CPU": 4.0, "GPU": 1.0}, 3), ({"CPU": 1.0}, 0)]
    monkeypatch.setattr("pipelines.machines._kinds", lambda: kinds)
    assert [node.get("GPU", 0.0) for node in machines()] == [0, 0, 0, 1, 1, 1]
    assert resources.use_gpu(plan("cluster.workers=3"))
    resources.check(
        plan("cluster.workers=3", "cluster.cpus_per_worker=2"), storage, wait=0
    )  # nothing is waited for: Ray will start what is missing
    assert "the cluster has 3;" in refusal(plan("cluster.workers=4", "cluster.gpu=true"), storage)


@pytest.mark.parametrize(("workers", "expected"), [("[2, 4]", True), ("[3, 4]", False)])
def test_the_least_of_elastic_workers_decide_on_gpus(monkeypatch: pytest.MonkeyPatch, workers: str, expected: bool):
    cluster_of(monkeypatch, {"CPU": 8.0, "GPU": 2.0})
    assert resources.use_gpu(plan(f"cluster.workers={workers}")) is expected


def test_cpus_that_others_hold_are_waited_for_and_then_refused(monkeypatch: pytest.MonkeyPatch, storage: Storage):
    cluster_of(monkeypatch, {"CPU": 4.0}, free=1.0)
    assert refusal(plan(), storage, wait=0.3).startswith(
        "cluster: other work holds 3 of the cluster's 4 CPUs, 2 are needed"
    )
    answers = iter([1.0, 1.0, 4.0])
    monkeypatch.setattr(resources.ray, "available_resources", lambda: {"CPU": next(answers)})
    resources.check(plan(), storage, wait=30)


def test_gpus_that_others_hold_are_waited_for_and_then_refused(monkeypatch: pytest.MonkeyPatch, storage: Storage):
    """Ray Train would wait for ever, and say nothing."""
    cluster_of(monkeypatch, {"CPU": 8.0, "GPU": 2.0}, free_gpus=1.0)
    gpus = plan("cluster.gpu=true", "cluster.workers=2")
    assert refusal(gpus, storage, wait=0.3).startswith("cluster: other work holds 1 of the cluster's 2 GPUs, 2 are")
    resources.check(plan("cluster.gpu=false", "cluster.workers=2"), storage, wait=0.3)


def test_a_gpu_that_torch_cannot_use_is_told_before_anything_is_spent(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
):
    cluster_of(monkeypatch, {"CPU": 8.0, "GPU": 2.0})
    monkeypatch.setattr(resources.node_probe, "gpu_fault", lambda wait: "too old")
    assert refusal(plan("cluster.workers=2"), storage) == "cluster.gpu: too old, or set cluster.gpu to false"
    resources.check(plan("cluster.gpu=false", "cluster.workers=2"), storage)


def test_cpus_that_others_hold_do_not_matter_where_an_autoscaler_may_start_more(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
):
    cluster_of(monkeypatch, {"CPU": 4.0}, free=0.0)
    monkeypatch.setattr("pipelines.machines._kinds", lambda: [({"CPU": 4.0}, 2)])
    resources.check(plan(), storage, wait=0)
    monkeypatch.setattr("pipelines.machines._kinds", lambda: [({"CPU": 4.0}, 1)])  # that one is there already
    assert refusal(plan(), storage, wait=0).startswith("cluster: other work holds 4")


@pytest.mark.parametrize(
    ("gpu", "gpus", "expected"),
    [("null", 0, False), ("null", 1, False), ("null", 2, True), ("false", 8, False), ("true", 0, True)],
)
def test_use_gpu(monkeypatch: pytest.MonkeyPatch, gpu: str, gpus: int, expected: bool):
    cluster_of(monkeypatch, {"CPU": 4, "GPU": gpus})
    assert resources.use_gpu(plan(f"cluster.gpu={gpu}", "cluster.actors=2")) is expected


@pytest.mark.parametrize(
    ("cores", "overrides", "expected"),
    [
        (1, [], 2),
        (2, [], 2),
        (2, ["cluster.workers=2", "cluster.actors=2"], 3),
        (2, ["cluster.cpus_per_worker=2"], 3),
        (2, ["cluster.workers=8"], 3),  # refused later, not carried out on three CPUs
        (16, ["cluster.workers=2"], 16),
    ],
)
def test_a_small_machine_offers_one_logical_cpu_more_at_most(cores: int, overrides: list[str], expected: int):
    assert resources.local_cpus(plan(*overrides), cores) == expected


def test_unwritable_storage_and_every_other_fault_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    cluster_of(monkeypatch, {"CPU": 1.0})
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    config = plan("tracking.uri=file:/tmp/mlruns", "cluster.workers=2")
    lines = refusal(config, open_storage(blocked / "root")).splitlines()
    assert [line.split(":")[0] for line in lines] == ["storage.root", "tracking.uri", "cluster.workers"]
    assert "cannot be written" in lines[0]
    assert "keeps no runs in folders" in lines[1]


def test_a_full_disk_is_refused(monkeypatch: pytest.MonkeyPatch, storage: Storage):
    cluster_of(monkeypatch, {"CPU": 4.0})
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 2**20))
    assert "has 100 MB left, at least 512 MB are needed" in refusal(plan(), storage)
    assert storage.list() == []  # nothing of ours is left behind


@pytest.mark.ray
def test_the_sessions_ray_carries_a_small_plan_and_leaves_nothing_behind(ray_session: str, storage: Storage):
    resources.connect(plan())  # connected already: nothing happens
    resources.check(plan("cluster.gpu=false"), storage)
    assert storage.list() == []
    large = plan("cluster.workers=64", "training.batch_size=128", "cluster.gpu=false")
    assert "cluster.workers: 64 with 1 CPUs each" in refusal(large, storage)


@pytest.mark.s3
def test_a_root_on_s3_wants_a_tracking_server_and_room_for_what_is_sent(
    monkeypatch: pytest.MonkeyPatch, s3_root: str, server: tuple[str, list[int]]
):
    cluster_of(monkeypatch, {"CPU": 4.0})
    on_s3 = open_storage(s3_root)
    text = refusal(plan(), on_s3)
    assert text.startswith(f"tracking.uri: MLflow's database cannot lie on S3 ({s3_root}); set tracking.uri or")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server[0])
    resources.check(plan(), on_s3)
    assert on_s3.list() == []
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 2**20))
    assert refusal(plan(), on_s3).startswith("TMPDIR: ")


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, s3_server: str, server: tuple[str, list[int]]
):
    cluster_of(monkeypatch, {"CPU": 4.0})
    missing = open_storage("s3://weakseg-test-missing/p")
    text = refusal(plan(f"tracking.uri={server[0]}"), missing)
    assert text.startswith("storage.root s3://weakseg-test-missing/p: there is no such bucket")
    assert "\n" not in text


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "[::1]:9"])
def test_no_ray_at_the_address_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setattr(resources.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ResourceError, match="no Ray answers at RAY_ADDRESS") as caught:
        resources.connect(plan())
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_connect_starts_a_small_ray_of_its_own_or_joins_the_named_one(monkeypatch: pytest.MonkeyPatch):
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(resources.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(resources.ray, "init", lambda **options: calls.append(options))
    monkeypatch.setattr(resources, "_knock", lambda address: None)
    resources.connect(plan())
    assert calls[0]["address"] == "local"
    assert calls[0]["object_store_memory"] == 300 * 2**20
    assert calls[0]["log_to_driver"] is False
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    resources.connect(plan(), verbose=True)
    assert calls[1] == {"address": "10.0.0.1:6379"}  # a cluster's size is its own


@pytest.mark.parametrize(
    ("nodes", "settings", "runs"),
    [
        ([{"CPU": 4.0}], ["cluster.workers=1"], 2),  # an actor and the task that feeds it
        ([{"CPU": 4.0}], ["cluster.workers=3"], 1),
        ([{"CPU": 1.0}], ["cluster.workers=1"], 0),
        ([{"CPU": 3.0}, {"CPU": 3.0}], ["cluster.workers=1", "cluster.cpus_per_worker=2"], 2),
        ([{"CPU": 8.0, "GPU": 2.0}], ["cluster.workers=2", "cluster.gpu=true"], 1),
        ([{"CPU": 8.0, "GPU": 4.0}], ["cluster.workers=2", "cluster.gpu=true"], 2),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0, "GPU": 2.0}], ["cluster.workers=1", "cluster.gpu=true"], 4),
    ],
)
def test_runs_side_by_side_are_counted_by_what_is_short(
    nodes: list[dict[str, float]], settings: list[str], runs: int, monkeypatch: pytest.MonkeyPatch
):
    cluster_of(monkeypatch, *nodes)
    assert resources.runs_at_once(plan(*settings)) == runs


def test_a_driver_away_from_its_place_is_told(monkeypatch: pytest.MonkeyPatch):
    cluster_of(monkeypatch, {"CPU": 4.0}, {"CPU": 0.0, "driver": 100.0})
    here = SimpleNamespace(get_node_id=lambda: "0")
    monkeypatch.setattr(resources.ray, "get_runtime_context", lambda: here)
    assert "without the resource `driver`" in (text := str(resources.misplaced()))
    assert "\n" not in text
    here.get_node_id = lambda: "1"
    assert resources.misplaced() is None
    here.get_node_id = lambda: "0"
    cluster_of(monkeypatch, {"CPU": 4.0})
    assert resources.misplaced() is None


def test_what_lives_with_the_driver_asks_for_its_place_or_the_heads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources.ray, "cluster_resources", lambda: {"CPU": 4.0, "driver": 100.0})
    assert resources.driver_share() == {"driver": 0.01}
    monkeypatch.setattr(resources.ray, "cluster_resources", lambda: {"CPU": 4.0})
    assert resources.driver_share() == {"node:__internal_head__": 0.001}


def test_a_jobs_results_are_not_kept_where_they_are_deleted_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    job = tmp_path / "session/runtime_resources/working_dir_files/_ray_pkg_0"
    job.mkdir(parents=True)
    monkeypatch.chdir(job)
    (fault,) = resources._job_faults(open_storage("./weakseg-data"))
    assert fault.startswith("storage.root: weakseg-data lies in the folder that Ray unpacked for this job and deletes")
    assert not list(resources._job_faults(open_storage(tmp_path / "shared")))
    assert not list(resources._job_faults(open_storage("s3://bucket/prefix")))
    monkeypatch.chdir(tmp_path)
    assert not list(resources._job_faults(open_storage("./weakseg-data")))
