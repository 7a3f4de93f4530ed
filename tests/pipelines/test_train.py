"""The train stage on Ray Train: a worker or driver that dies, another storage, what a user gets wrong."""

import os
import re
import shutil
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import ray.train.torch
import tiny
import torch
from safetensors.torch import save_file

from pipelines import train, train_worker
from pipelines.bring import Bring
from pipelines.checkpoints import SNAPSHOT
from pipelines.storage import Folder, open_storage
from weakseg.errors import DivergedError, ImageError, ResourceError, WeaksegError
from weakseg.models import build_model
from weakseg.schema import LABELS
from weakseg.supervision import PointIndex, RegionIndex

pytestmark = pytest.mark.ray


@pytest.fixture
def untrained(finished_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the finished run whose first round is not trained."""
    root = shutil.copytree(finished_run[0], tmp_path / "copy")
    shutil.rmtree(root / "runs/tiny/rounds/000/train")
    (root / "runs/tiny/rounds/000/model.safetensors").unlink()
    return root


def test_worker_killed_after_an_epoch_and_after_a_notice_goes_on(
    untrained: Path, finished_run: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first epoch, then in the second, at a step of which a notice has made a checkpoint."""
    deaths = [untrained / name for name in ("epoch-0001", "epoch-0001-step-00000002")]

    def work(settings: dict[str, Any]) -> Any:
        """The real training function, in a worker that is killed once each time one of the checkpoints is there."""
        import time

        import ray.train

        from pipelines import train_worker
        from pipelines.checkpoints import newest
        from weakseg.training import epoch

        fit = train_worker.fit
        epoch.STEPS_BETWEEN_CHECKS = 2

        def die(death: Path) -> None:
            while newest(settings["storage"], settings["folder"]) != death.name:
                time.sleep(0.05)
            death.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        def fit_and_die(*arguments: Any, on_epoch: Any, on_steps: Any, **options: Any) -> Any:
            def after_epoch(result: Any) -> None:
                on_epoch(result)
                if not deaths[0].exists():
                    die(deaths[0])

            def after_steps(progress: Any) -> None:
                on_steps(progress)
                if progress.epoch == 1 and not deaths[1].exists():
                    die(deaths[1])

            return fit(*arguments, on_epoch=after_epoch, on_steps=after_steps, **options)

        monkey = pytest.MonkeyPatch()
        monkey.setattr(train_worker, "fit", fit_and_die)
        notice = ray.train.PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"node": [0]})
        monkey.setattr(ray.train, "get_preemption_info", lambda: notice if deaths[0].exists() else None)
        try:
            return train_worker.work(settings)
        finally:
            monkey.undo()

    monkeypatch.setattr(train, "work", work)
    with tiny.reopened(untrained) as (config, ledger):
        history = train.run(config, ledger, 0, console=tiny.console())
    assert all(death.exists() for death in deaths)
    assert [row["epoch"] for row in history] == [1, 2]
    for name in ("model.safetensors", "train/history.json"):
        key = Path("runs/tiny/rounds/000", name)
        assert (untrained / key).read_bytes() == (finished_run[0] / key).read_bytes()
    assert sorted(path.name for path in (untrained / "runs/tiny/rounds/000/train").iterdir()) == ["history.json"]


@pytest.mark.long
def test_a_driver_that_died_goes_on_without_rays_list(
    untrained: Path, finished_run: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint that a dead driver left is taken up where the list of them was cut short."""
    seen = untrained / "seen"

    def work(settings: dict[str, Any]) -> Any:
        from pipelines import train_worker

        fit = train_worker.fit

        def seeing(*arguments: Any, state: Any, **options: Any) -> Any:
            seen.write_text(str(state and state["epoch"]))
            return fit(*arguments, state=state, **options)

        monkey = pytest.MonkeyPatch()
        monkey.setattr(train_worker, "fit", seeing)
        try:
            return train_worker.work(settings)
        finally:
            monkey.undo()

    delete = Folder.delete_tree
    monkeypatch.setattr(train, "work", work)
    monkeypatch.setattr(Folder, "delete_tree", lambda self, key: None if "fit-" in key else delete(self, key))
    with tiny.reopened(untrained) as (config, ledger):
        train.run(config, ledger, 0, console=tiny.console())
        assert seen.read_text() == "None"
        monkeypatch.setattr(Folder, "delete_tree", delete)
        (folder,) = (untrained / "runs/tiny/rounds/000/train").glob("fit-*")
        shutil.rmtree(folder / "epoch-0002")
        (folder / SNAPSHOT).write_text("{")
        (untrained / "runs/tiny/rounds/000/model.safetensors").unlink()
        train.run(config, ledger, 0, console=tiny.console())
    assert seen.read_text() == "1"
    model = Path("runs/tiny/rounds/000/model.safetensors")
    assert (untrained / model).read_bytes() == (finished_run[0] / model).read_bytes()


@pytest.mark.long
def test_training_on_s3_is_the_same(
    untrained: Path, finished_run: tuple[Path, dict[str, Any]], s3_root: str, ray_session: str
) -> None:
    storage = open_storage(s3_root)
    storage.upload_folder("pools", untrained / "pools")
    storage.upload_folder("runs", untrained / "runs")
    with tiny.reopened(s3_root) as (config, ledger):
        train.run(config, ledger, 0, console=tiny.console())
    model = Path("runs/tiny/rounds/000/model.safetensors")
    assert storage.read_bytes(str(model)) == (finished_run[0] / model).read_bytes()
    left = [key for key in storage.list("runs/tiny/rounds/000/train")]
    assert left == ["runs/tiny/rounds/000/train/history.json"]


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    """What watches a training one of whose epochs is finished, given what hears of it."""
    storage = open_storage(tmp_path)
    storage.write_bytes("fit/epoch-0001/history.json", b'{"epochs": [{"epoch": 1}]}')
    return lambda on_epochs: train._watched(tiny.console(), storage, "fit", 0, 2, on_epochs)


def test_who_is_stopped_does_not_wait_for_a_slow_tracking_server(watched: Any) -> None:
    asked, answered, over = threading.Event(), threading.Event(), threading.Event()

    def slow(rows: Any) -> None:
        asked.set()
        answered.wait(10)
        over.set()

    def stopped() -> None:
        with watched(slow):
            assert asked.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not over.is_set()
    answered.set()


def test_the_last_epoch_is_seen_although_the_training_ends_with_it(
    watched: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[Any] = []
    with watched(heard.append):
        pass  # over before anyone looked
    assert heard == [[{"epoch": 1}]]
    assert "round 0: train: 1/2 in" in capsys.readouterr().out


def test_a_tracking_server_that_fails_once_is_told_again(watched: Any, capsys: pytest.CaptureFixture[str]) -> None:
    heard, twice = [], threading.Event()

    def failing(rows: Any) -> None:
        heard.append(rows)
        if len(heard) == 1:
            raise RuntimeError("502 Bad Gateway\nand so on")
        twice.set()

    with watched(failing):
        assert twice.wait(60)
    assert heard == [[{"epoch": 1}]] * 2
    assert "round 0: epochs could not be logged, trying again (502 Bad Gateway)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__encoder": "resnet81"}, "resnet18"),
        ({"model__architecture": "unet"}, "squeezenet1_0"),
        ({"loss__class_weights": "[1.0, 2.0]"}, "loss.class_weights: expected 6 numbers, one per class, got 2"),
    ],
)
def test_what_no_worker_could_train_is_refused_at_once(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(WeaksegError, match=re.escape(message)):
        train.check(tiny.config(tmp_path, **changes), classes=6)


def test_balanced_weights_count_an_answer_about_a_region_once(tmp_path: Path) -> None:
    rows = [
        {"answer_id": str(n), "image_id": "a", "round": 0, "kind": "region", "segment": n, "class_id": class_id}
        for n, class_id in enumerate([0, 0, 0, 2, 255])
    ]
    bring = Bring(regions=RegionIndex(["a"], pa.Table.from_pylist(rows, schema=LABELS)))
    pool = SimpleNamespace(classes=range(3), index=lambda split: SimpleNamespace(image_ids=pa.array(["a"])))
    config = tiny.config(tmp_path, loss__class_weights="balanced")
    weights = train._class_weights(config, pool, PointIndex(["a"], LABELS.empty_table()), bring)
    assert weights == pytest.approx([0.5, 1.0, 1.5])


def test_workers_start_from_weights_that_the_driver_has_read(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that could not read or download them would leave the others waiting for it."""

    class Built(Exception):
        pass

    def built(model: torch.nn.Module, **options: Any) -> None:
        raise Built(model)

    torch.manual_seed(1)
    expected = build_model("fcn8", encoder="squeezenet1_0", classes=6).encoder.state_dict()
    save_file(expected, file := tmp_path / "weights.safetensors")
    with tiny.reopened(untrained) as (config, ledger):
        config = config.model_copy(update={"model": config.model.model_copy(update={"weights": str(file)})})
        settings = train._settings(config, ledger, 0)
        file.unlink()
        monkeypatch.setattr(train_worker, "build_optimizer", built)
        monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
        alone = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
        monkeypatch.setattr(ray.train, "get_context", lambda: alone)
        with pytest.raises(Built) as raised:
            train_worker._train(settings)
    (model,) = raised.value.args
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, expected[name])


def test_weights_that_do_not_fit_are_refused_by_key(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(3, 3)}, file)
    with pytest.raises(WeaksegError, match=r"features\.0\."):
        train.check(tiny.config(tmp_path, model__weights=str(file)), classes=6)


@pytest.mark.parametrize("error", [ImageError("p/1.png is cut short"), ResourceError("no network")])
def test_what_one_worker_alone_may_meet_is_raised_there(error: WeaksegError, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it came back as a result, the other workers would wait for this one in the next step."""

    def fail(settings: dict[str, Any]) -> None:
        raise error

    monkeypatch.setattr(train_worker, "_train", fail)
    with pytest.raises(type(error)):
        train_worker.work({})


def test_what_is_wrong_with_the_input_comes_back_and_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    diverged = DivergedError("the training has diverged")

    def fail(settings: dict[str, Any]) -> None:
        raise diverged

    monkeypatch.setattr(train_worker, "_train", fail)
    assert train_worker.work({}) == {"error": diverged}


@pytest.mark.parametrize("world", [1, 2])
def test_a_full_gpu_says_which_setting_to_lower(monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    def fill(settings: dict[str, Any]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB. GPU 0 has ...")

    monkeypatch.setattr(train_worker, "_train", fill)
    monkeypatch.setattr(train_worker.ray.train, "get_context", lambda: SimpleNamespace(get_world_size=lambda: world))
    if world > 1:
        with pytest.raises(torch.OutOfMemoryError):
            train_worker.work({})
    else:
        found = train_worker.work({})
        assert found is not None
        assert str(found["error"]) == "training.batch_size: the GPU is full (CUDA out of memory); lower it, or the crop"


def test_what_came_back_is_raised_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    diverged = DivergedError("the training has diverged")
    result = SimpleNamespace(return_value={"error": diverged})
    monkeypatch.setattr(train, "forget_unreadable", lambda storage, folder: None)
    monkeypatch.setattr(train, "newest", lambda storage, folder: None)
    monkeypatch.setattr(train, "_trainer", lambda *_: SimpleNamespace(fit=lambda: result))
    with pytest.raises(DivergedError) as caught:
        train._fit(None, {}, None, "")
    assert caught.value is diverged
