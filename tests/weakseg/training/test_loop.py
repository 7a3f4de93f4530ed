"""Run as a script, this file is one rank of a distributed training: RANK WORLD FOLDER."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import weakseg
from weakseg.datasets.examples import Example, InMemory
from weakseg.errors import DataError, WeaksegError
from weakseg.models import Output, build_model
from weakseg.training import (
    build_optimizer,
    build_scheduler,
    fit,
    load,
    save,
    steps_per_epoch,
    trained_weights,
    validation_loss,
)
from weakseg.training import epoch as epochs
from weakseg.transforms import IMAGENET_MEAN, Augmentation

COLOURS = np.array([[220, 40, 40], [40, 200, 60], [60, 60, 210]])
BOTH = {"point": 1.0, "mask": 0.5}
MILD = Augmentation(scale=(0.8, 1.5), jitter_probability=0.0, grey=0.0, blur=0.2)


class Tiny(nn.Module):
    def __init__(self, dropout=0.0, norm=False, seed=0, width=8):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width) if norm else nn.Identity()
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(width, 3, 1, stride=2))

    def forward(self, image_B3HW):
        return Output(self.head(self.encoder(image_B3HW - 0.5)), None, tuple(image_B3HW.shape[2:]))


def _images(count=10, points=4, masks=False, unlabelled=()):
    """Two coloured halves per image."""
    rng = np.random.default_rng(7)
    examples = []
    for index in range(count):
        mask = np.repeat(rng.integers(0, 3, 2), 4)[None].repeat(8, 0).astype(np.uint8)
        image = (COLOURS[mask] + rng.integers(-30, 30, (8, 8, 3))).clip(0, 255).astype(np.uint8)
        yx = rng.integers(0, 8, (0 if index in unlabelled else points, 2))
        labels = mask[yx[:, 0], yx[:, 1]].astype(np.int64)
        examples.append(Example(f"image {index}", image, yx.astype(np.float32), labels, mask if masks else None))
    return InMemory(examples)


def _fit(model=None, examples=None, *, optimizer="adam", schedule="poly", lr=0.01, start=None, **options):
    model = model or Tiny()
    examples = examples or _images()
    options = {"epochs": 4, "batch_size": 4, "loss_weights": {"point": 1.0}, "seed": 5, **options}
    built = build_optimizer(model, name=optimizer, lr=lr, encoder_lr=lr / 2)
    steps = steps_per_epoch(len(examples), options["batch_size"])
    scheduler = build_scheduler(built, name=schedule, epochs=6, steps_per_epoch=max(1, steps))
    return model, fit(model, examples, optimizer=built, scheduler=scheduler, state=start, **options)


def _equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("weights", [{"point": 1.0}, {"mask": 1.0}, {"point": 0.5, "mask": 2.0}])
def test_it_learns(weights):
    model, history = _fit(examples=_images(masks=True), epochs=6, lr=0.05, loss_weights=weights, augmentation=MILD)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1].keys() == {"epoch", "lr", "loss", *(f"loss_{name}" for name in weights)}
    row = history[-1]
    assert row["loss"] == pytest.approx(sum(weight * row[f"loss_{name}"] for name, weight in weights.items()))
    assert model.training


def test_the_first_loss_is_the_mean_over_labels():
    model, examples = Tiny(), _images(6)
    expected = []
    for index in range(6):
        image = torch.from_numpy(examples[index].image_HW3).permute(2, 0, 1)[None].float() / 255
        logits = nn.functional.interpolate(model(image).logits_BChw, size=(8, 8), mode="bilinear")[0].log_softmax(0)
        for (y, x), label in zip(examples[index].points_N2.astype(int), examples[index].labels_N, strict=True):
            expected.append(-logits[label, y, x].item())
    _, history = _fit(model, examples, epochs=1, batch_size=6)
    assert history[0]["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_repeats_that_fill_up_a_batch_change_nothing():
    # 5 images in a batch of 8: three repeats of weight 0; the gradient is that of the 5
    small, _ = _fit(examples=_images(5), epochs=2, batch_size=5, optimizer="sgd")
    padded, _ = _fit(examples=_images(5), epochs=2, batch_size=8, optimizer="sgd")
    for one, two in zip(small.parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_same_seed_gives_the_same_training_and_another_another(optimizer):
    options = {"augmentation": Augmentation(), "optimizer": optimizer}
    (one, first), (two, second) = (_fit(Tiny(0.3, norm=True), **options) for _ in range(2))
    assert first == second
    assert _equal(one, two)
    assert _fit(Tiny(0.3, norm=True), **{**options, "seed": 6})[1] != first
    assert _fit(Tiny(0.3, norm=True), **{**options, "round": 1})[1] != first


def test_loader_processes_change_nothing():
    alone, with_two = (_fit(augmentation=Augmentation(), epochs=2, loader_workers=workers) for workers in (0, 2))
    assert alone[1] == with_two[1]
    assert _equal(alone[0], with_two[0])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("finished", [1, 3])
def test_interrupted_and_continued_is_uninterrupted(tmp_path, optimizer, finished):
    class Killed(Exception):
        pass

    def stop(result):
        save(tmp_path / "state.pt", result.state())
        if result.epoch == finished:
            raise Killed

    options = {"optimizer": optimizer, "augmentation": Augmentation()}
    whole, history = _fit(Tiny(0.3, norm=True), **options)
    with pytest.raises(Killed):
        _fit(Tiny(0.3, norm=True), **options, on_epoch=stop)
    torch.rand(5)  # whatever ran in between
    seen = []
    continued, rows = _fit(
        Tiny(0.3, norm=True, seed=99), **options, start=load(tmp_path / "state.pt"), on_epoch=seen.append
    )
    assert rows == history
    assert _equal(whole, continued)
    assert [result.epoch for result in seen] == list(range(finished + 1, 5))


def test_a_finished_training_goes_no_further():
    states = []
    model, history = _fit(on_epoch=lambda result: states.append(result.state()))
    again, rows = _fit(Tiny(seed=3), start=states[-1], on_epoch=lambda result: pytest.fail("no epoch is left"))
    assert rows == history
    assert _equal(model, again)
    assert [state["epoch"] for state in states] == [1, 2, 3, 4]
    assert not torch.equal(states[0]["model"]["head.2.weight"], states[1]["model"]["head.2.weight"])


def test_a_state_is_refused_once_the_training_has_gone_on(monkeypatch):
    """It would hold the weights of now under the number of an epoch before."""
    monkeypatch.setattr("weakseg.training.epoch.STEPS_BETWEEN_CHECKS", 1)
    results, moments = [], []
    _fit(on_epoch=results.append, on_steps=moments.append)
    assert results[-1].state()["epoch"] == len(results)  # nothing came after it
    for late in (results[0], moments[0]):
        with pytest.raises(RuntimeError, match=r"gone on since epoch .*: call state\(\) within on_epoch or on_steps"):
            late.state()
    _fit(epochs=3, patience=3, **VALIDATION, on_epoch=results.append)
    with pytest.raises(RuntimeError, match="gone on since epoch 3"):  # the best epoch's weights are in the model
        results[-1].state()


def test_a_state_is_made_only_when_asked_for(monkeypatch):
    monkeypatch.setattr("weakseg.training.state.snapshot", lambda *_, **__: pytest.fail("nobody asked"))
    results = []
    _fit(on_epoch=results.append)
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert all(result.seconds > 0 for result in results)


def test_what_on_epoch_draws_or_switches_changes_nothing():
    def disturb(result):
        model.eval()
        torch.rand(3)
        np.random.rand(3)

    model = Tiny(0.5)
    assert _fit(model, on_epoch=disturb)[1] == _fit(Tiny(0.5))[1]


def test_the_schedule_goes_on_with_every_step():
    # 10 images in batches of 4: three steps an epoch, eighteen in the six epochs of the schedule
    _, history = _fit(lr=0.01)
    assert [row["lr"] for row in history] == pytest.approx([0.01 * (1 - 3 * epoch / 18) ** 0.9 for epoch in range(4)])


def test_class_weights_count():
    plain = _fit(epochs=1)[1][0]["loss"]
    weighted = _fit(epochs=1, class_weight_C=torch.tensor([5.0, 1.0, 1.0]))[1][0]["loss"]
    assert weighted != pytest.approx(plain, rel=1e-3)


def test_images_without_a_label_are_visited_and_count_nothing():
    _, history = _fit(examples=_images(unlabelled=range(1, 10)), epochs=3)
    assert all(np.isfinite(row["loss"]) for row in history)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"examples": _images(unlabelled=range(10))},
            DataError,
            r"none of the 10 images has a label .*\(active terms: p",
        ),
        ({"loss_weights": {"mask": 1.0}}, DataError, "none of the 10 images has a label"),
        ({"loss_weights": {"point": 0.0}}, DataError, r"active terms: none"),
        ({"loss_weights": {"points": 1.0}}, ValueError, "points"),
        ({"batch_size": 1}, ValueError, "set batch_size to at least 2"),
        ({"precision": "bf16"}, ValueError, "precision bf16 needs a CUDA device, got cpu: use fp32"),
        ({"precision": "fp8"}, ValueError, "unknown precision 'fp8', expected one of: fp32, bf16, fp16"),
        ({"world": 2}, ValueError, r"world is 2 but torch\.distributed is not initialised"),
        ({"epochs": 0}, ValueError, "epochs: expected at least 1"),
    ],
)
def test_what_cannot_be_trained(options, error, message):
    with pytest.raises(error, match=message):
        _fit(**options)


@pytest.mark.parametrize("validated", [False, True])
def test_a_class_that_the_model_lacks_is_refused_by_image(validated):
    wrong = InMemory([replace(_images(2, masks=True)[1], image_id="odd", mask_HW=np.full((8, 8), 3, np.uint8))])
    given = {"validation": wrong, "loss_weights": {"mask": 1.0}} if validated else {"loss_weights": {"mask": 1.0}}
    model = build_model("fcn8", encoder="squeezenet1_0", classes=3)
    with pytest.raises(DataError, match="odd: mask_HW holds class 3, but the model has classes 0 to 2"):
        _fit(model, _images(2, masks=True) if validated else wrong, epochs=1, batch_size=2, **given)


def test_no_images():
    class Empty(InMemory):
        def __bool__(self):
            return True

    with pytest.raises(DataError, match="no image to train on"):
        _fit(examples=Empty([]))


def test_a_diverged_loss_says_when_and_what_to_do():
    model = Tiny()
    nn.init.constant_(model.head[2].weight, float("nan"))
    with pytest.raises(WeaksegError, match=r"epoch 1, step 1: the training has diverged; lower the learning rate"):
        _fit(model)


def test_a_state_of_another_seed_is_refused():
    states = []
    _fit(epochs=1, on_epoch=lambda result: states.append(result.state()))
    with pytest.raises(WeaksegError, match="seed 5 there, 6 here"):
        _fit(seed=6, start=states[0])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_and_continues(precision, monkeypatch):
    if torch.cuda.is_available():
        device = "cuda"
    else:
        # torch's CPU autocast takes the same way through the code; only the refusal stands before it
        device = "cpu"
        monkeypatch.setattr("weakseg.training.loop._check", lambda **_: None)
    options = {"precision": precision, "device": device, "lr": 0.05}
    states, dtypes = [], []

    class Spy(Tiny):
        def forward(self, image_B3HW):
            output = super().forward(image_B3HW)
            dtypes.append(output.logits_BChw.dtype)
            return output

    model, history = _fit(Spy(), **options, on_epoch=lambda result: states.append(result.state()))
    assert set(dtypes) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert (states[1]["scaler"] is not None) == (precision == "fp16")
    continued, rows = _fit(Tiny(seed=3), **options, start=states[1])
    if device == "cpu":
        assert rows == history
        assert _equal(model, continued)
    else:
        assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in history], rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_as_the_cpu():
    assert _fit(device="cuda")[1][-1]["loss"] == pytest.approx(_fit()[1][-1]["loss"], rel=1e-3)


VALIDATION = {"validation": _images(4, masks=True), "validation_weights": {"mask": 1.0}}


def test_early_stopping_ends_and_leaves_the_best_weights():
    states = []
    options = {"epochs": 12, "lr": 0.4, "schedule": "constant", "optimizer": "sgd", "augmentation": MILD, **VALIDATION}
    model, history = _fit(**options, patience=2, on_epoch=lambda result: states.append(result.state()))
    losses = [row["val_loss"] for row in history]
    best = int(np.argmin(losses))
    assert len(history) == best + 3 < 12  # two more epochs without a lower loss
    assert all(torch.equal(value, states[best]["model"][name]) for name, value in model.state_dict().items())
    assert all(torch.equal(trained_weights(states[-1])[n], value) for n, value in model.state_dict().items())
    whole, all_epochs = _fit(**options)
    assert len(all_epochs) == 12
    assert [row["val_loss"] for row in all_epochs[: len(losses)]] == losses
    assert not _equal(whole, model)


@pytest.mark.parametrize("finished", [1, 2])
def test_early_stopping_goes_on_from_a_state(finished):
    states = []
    options = {"epochs": 12, "lr": 0.4, "patience": 2, **VALIDATION}
    model, history = _fit(**options, on_epoch=lambda result: states.append(result.state()))
    for start in (states[finished - 1], states[-1]):
        continued, rows = _fit(Tiny(seed=9), **options, start=start)
        assert rows == history
        assert _equal(continued, model)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 3}, ValueError, "patience: expected validation examples beside it"),
        ({"patience": 0, **VALIDATION}, ValueError, "patience: expected at least 1 epoch, got 0"),
        (
            {"patience": 3, "validation": _images(4, unlabelled=range(4))},
            DataError,
            "none of the 4 validation images has a label",
        ),
    ],
)
def test_validation_that_cannot_work(options, error, message):
    with pytest.raises(error, match=message):
        _fit(**options)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, 2), (2, 1)])
def test_an_epoch_that_broke_off_is_gone_on_with(tmp_path, monkeypatch, optimizer, epoch, step):
    monkeypatch.setattr("weakseg.training.epoch.STEPS_BETWEEN_CHECKS", 1)
    seen = []

    def keep(progress):
        seen.append((progress.epoch, progress.step))
        if seen[-1] == (epoch, step):
            save(tmp_path / "state.pt", progress.state())

    options = {"optimizer": optimizer, "augmentation": Augmentation()}
    whole, history = _fit(Tiny(0.3, norm=True), **options)
    assert _fit(Tiny(0.3, norm=True), **options, on_steps=keep)[1] == history
    assert seen == [(epoch, step) for epoch in range(4) for step in (1, 2)]  # three steps, the last ends the epoch
    torch.rand(5)
    again = []
    continued, rows = _fit(
        Tiny(0.3, norm=True, seed=99), **options, start=load(tmp_path / "state.pt"), on_epoch=again.append
    )
    assert rows == history
    assert _equal(whole, continued)
    assert [result.epoch for result in again] == list(range(epoch + 1, 5))
    assert again[-1].state()["running"] is None


def test_nobody_is_asked_within_short_epochs():
    _fit(on_steps=lambda progress: pytest.fail("an epoch of three steps was interrupted"))


def _ranks(world, folder):
    """What each rank of a distributed training found."""
    root = str(Path(weakseg.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(world), str(folder)], env=environment, stderr=subprocess.PIPE
        )
        for rank in range(world)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors.decode()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(world)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return _ranks(2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three_ranks(tmp_path_factory):
    return _ranks(3, tmp_path_factory.mktemp("three"))


@pytest.fixture(params=["two_ranks", "three_ranks"])
def ranks(request):
    return request.getfixturevalue(request.param)


SHARED = {"batch_size": 7, "augmentation": MILD}
"""Seven images: 4 and 3 on two ranks, 3, 2 and 2 on three."""


def test_ranks_train_as_one_with_unequal_shares(ranks):
    model, history = _fit(examples=_images(17, unlabelled=[0, 3], masks=True), loss_weights=BOTH, **SHARED)
    for found in ranks:
        for row, expected in zip(found["history"], history, strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(found["model"][name], weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("moment", ["epoch", "step"])
def test_one_rank_goes_on_where_three_stopped(three_ranks, moment):
    options = {"examples": _images(17, unlabelled=[0, 3], masks=True), "loss_weights": BOTH, **SHARED}
    whole, history = _fit(**options)
    state = three_ranks[0]["after" if moment == "epoch" else "within"]
    continued, rows = _fit(Tiny(seed=9), **options, start=state)
    for row, expected in zip(rows, history, strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(continued.state_dict()[name], weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("moment", ["epoch", "step"])
def test_ranks_go_on_from_the_state_of_the_first(ranks, moment):
    for found in ranks:
        assert found[f"{moment}_history"] == found["whole_history"]
        for name, weight in found["whole"].items():
            # batch statistics are each rank's own, the first's are kept
            if "running" not in name or found is ranks[0]:
                assert torch.equal(found[moment][name], weight)


def test_ranks_stop_early_as_one(ranks):
    model, history = _fit(epochs=12, lr=0.4, patience=2, **SHARED, **VALIDATION)
    assert len(history) < 12
    for found in ranks:
        assert len(found["stopped_history"]) == len(history)
        for row, expected in zip(found["stopped_history"], history, strict=True):
            assert row == pytest.approx(expected, rel=1e-3)
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(found["stopped"][name], weight, atol=1e-3, rtol=0)


def test_ranks_validate_the_weights_that_are_kept(ranks):
    """Batch statistics too, of which each rank has its own."""
    model = Tiny(norm=True)
    model.load_state_dict(ranks[0]["normed"])
    options = {"weights": {"mask": 1.0}, "batch_size": 4, "device": torch.device("cpu"), "fill": IMAGENET_MEAN}
    expected = validation_loss(model, VALIDATION["validation"], **options)
    assert [found["normed_loss"] for found in ranks] == [pytest.approx(expected, rel=1e-5)] * len(ranks)


def _one_rank(rank, world, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    epochs.STEPS_BETWEEN_CHECKS = 1
    ranks = {"rank": rank, "world": world}
    states, within = [], []

    def share(kept, result):
        box = [result.state()]
        torch.distributed.broadcast_object_list(box)
        kept.append(box[0])

    hooks = {"on_epoch": partial(share, states), "on_steps": partial(share, within)}
    examples = _images(17, unlabelled=[0, 3], masks=True)
    model, history = _fit(examples=examples, loss_weights=BOTH, **SHARED, **ranks, **hooks)
    found = {"model": model.state_dict(), "history": history, "after": states[1], "within": within[2]}
    states.clear(), within.clear()
    options = {"augmentation": Augmentation(), "batch_size": 7, "examples": examples, **ranks}
    whole, found["whole_history"] = _fit(Tiny(0.3, norm=True, width=64), **options, **hooks)
    found["whole"] = whole.state_dict()
    for name, start in {"epoch": states[1], "step": within[2]}.items():
        assert (start["running"] is None) == (name == "epoch")
        continued, found[f"{name}_history"] = _fit(Tiny(0.3, norm=True, seed=rank, width=64), **options, start=start)
        found[name] = continued.state_dict()
    stopped, stopped_history = _fit(epochs=12, lr=0.4, patience=2, **SHARED, **VALIDATION, **ranks)
    found |= {"stopped": stopped.state_dict(), "stopped_history": stopped_history}
    normed, (row,) = _fit(Tiny(norm=True), epochs=1, lr=0.4, **SHARED, **VALIDATION, **ranks)
    found |= {"normed": normed.state_dict(), "normed_loss": row["val_loss"]}
    torch.save(found, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _one_rank(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
