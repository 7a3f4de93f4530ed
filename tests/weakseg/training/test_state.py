import random

import numpy as np
import pytest
import torch
from torch import nn

from weakseg.errors import WeaksegError
from weakseg.training import build_optimizer, build_scheduler, load, save
from weakseg.training.state import random_states, restore, restore_random_states, snapshot

KEY = {"seed": 1, "round": 0}


def _parts(seed=0, features=3):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(features, 2, 1), nn.BatchNorm2d(2))
    optimizer = build_optimizer(model, name="adam", lr=0.1)
    return model, optimizer, build_scheduler(optimizer, name="poly", epochs=2, steps_per_epoch=10), None


def _step(model, optimizer, scheduler, _):
    model(torch.arange(3 * 4.0).reshape(1, 3, 2, 2)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    scheduler.step()


def _equal(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_state_from_a_file_goes_on_bit_by_bit(tmp_path):
    parts = _parts()
    _step(*parts)
    save(tmp_path / "new" / "state.pt", snapshot(*parts, epoch=1, history=[{"loss": 0.5}], key=KEY))
    drawn = (random.random(), np.random.rand(), torch.rand(1))
    other = _parts(seed=9)
    assert restore(load(tmp_path / "new" / "state.pt"), *other, key=KEY) == (1, [{"loss": 0.5}])
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn
    for _ in range(3):
        _step(*parts)
        _step(*other)
    assert _equal(parts[0].state_dict(), other[0].state_dict())
    assert parts[1].param_groups[0]["lr"] == other[1].param_groups[0]["lr"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.pt"]


def test_a_snapshot_is_a_copy_in_both_directions():
    parts = _parts()
    _step(*parts)
    state = snapshot(*parts, epoch=1, history=[], key=KEY)
    before = state["model"]["0.weight"].clone(), state["optimizer"]["state"][0]["exp_avg"].clone()
    other = _parts()
    restore(state, *other, key=KEY)
    _step(*parts)
    _step(*other)
    assert torch.equal(state["model"]["0.weight"], before[0])
    assert torch.equal(state["optimizer"]["state"][0]["exp_avg"], before[1])


def test_random_generators_come_back():
    states = random_states(torch.device("cpu"))
    drawn = [(random.gauss(0, 1), np.random.normal(), torch.randn(1).item()) for _ in range(3)]
    restore_random_states(states, torch.device("cpu"))
    assert [(random.gauss(0, 1), np.random.normal(), torch.randn(1).item()) for _ in range(3)] == drawn


def test_a_state_of_another_training_is_refused_by_what_differs():
    state = snapshot(*_parts(), epoch=1, history=[], key=KEY)
    with pytest.raises(WeaksegError, match=r"another training \(seed 1 there, 2 here\)"):
        restore(state, *_parts(), key={"seed": 2, "round": 0})


@pytest.mark.parametrize(("name", "other"), [("adam", "sgd"), ("sgd", "adam")])
def test_a_state_of_another_optimizer_is_refused_before_anything_is_changed(name, other):
    model, *_ = _parts()
    optimizer = build_optimizer(model, name=name, lr=0.1)
    state = snapshot(model, optimizer, None, None, epoch=1, history=[], key=KEY)
    mine, *_ = _parts(seed=9)
    before = {key: value.clone() for key, value in mine.state_dict().items()}
    with pytest.raises(WeaksegError, match="of another optimizer"):
        restore(state, mine, build_optimizer(mine, name=other, lr=0.1), None, None, key=KEY)
    assert _equal(mine.state_dict(), before)


def test_numpys_numbers_come_back(tmp_path):
    """A learning rate out of np.logspace and a seed out of np.arange are what notebooks give."""
    model, *_ = _parts()
    optimizer = build_optimizer(model, name="sgd", lr=np.logspace(-4, -2, 3)[1], momentum=np.float32(0.5))
    key = {"seed": np.int64(3), "round": np.int64(0)}
    save(tmp_path / "state.pt", snapshot(model, optimizer, None, None, epoch=1, history=[], key=key))
    state = load(tmp_path / "state.pt")
    assert restore(state, model, optimizer, None, None, key={"seed": 3, "round": 0})[0] == 1
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_the_kernels_are_not_those_of_the_state():
    model, *_ = _parts()
    fused = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    state = snapshot(model, fused, None, None, epoch=1, history=[], key=KEY)
    optimizer = build_optimizer(model, name="sgd", lr=0.1)
    restore(state, model, optimizer, None, None, key=KEY)
    assert not optimizer.param_groups[0]["fused"]


def test_a_state_of_another_model_is_refused():
    state = snapshot(*_parts(features=4), epoch=1, history=[], key=KEY)
    with pytest.raises(WeaksegError, match="does not fit this model"):
        restore(state, *_parts(), key=KEY)


def test_a_state_without_the_schedule_is_refused():
    model, optimizer, _, scaler = _parts()
    state = snapshot(model, optimizer, None, scaler, epoch=1, history=[], key=KEY)
    with pytest.raises(WeaksegError, match="has no schedule"):
        restore(state, *_parts(), key=KEY)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save(path, {"epoch": 1})

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, {"epoch": 2})
    assert load(path) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_files_that_are_no_state(tmp_path):
    with pytest.raises(WeaksegError, match="no training state at"):
        load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(WeaksegError, match=r"text\.pt is no readable training state"):
        load(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeaksegError, match=r"list\.pt holds no training state"):
        load(tmp_path / "list.pt")


class _Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_file_cannot_run_code(tmp_path, capsys):
    torch.save({"epoch": _Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeaksegError, match="no readable training state"):
        load(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""
