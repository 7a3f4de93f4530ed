"""Steps one by one, with a model of one layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from weakseg.errors import DivergedError, WeaksegError
from weakseg.models import Output
from weakseg.training import epoch
from weakseg.training.data import Batch
from weakseg.training.epoch import Step, run_epoch

CPU = torch.device("cpu")


class Layer(nn.Module):
    """One convolution after a batch normalisation, which has buffers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, image_B3HW: Tensor) -> Output:
        return Output(self.head(self.norm(image_B3HW)), None, tuple(image_B3HW.shape[2:]))


def batch(seed: int = 0) -> Batch:
    """Two images of 4 x 4 with a point each and, in the first, a mask."""
    rng = torch.Generator().manual_seed(seed)
    mask_BHW = torch.full((2, 4, 4), 255, dtype=torch.uint8)
    mask_BHW[0] = 1
    return Batch(
        image_B3HW=torch.rand(2, 3, 4, 4, generator=rng),
        points_N3=torch.tensor([[0.0, 1.0, 2.0], [1.0, 3.0, 0.0]]),
        labels_N=torch.tensor([0, 2]),
        mask_BHW=mask_BHW,
        segments_BHW=None,
        keypoints_BHW=None,
        proportions_BC=None,
        content_B4=torch.tensor([[0, 0, 4, 4]] * 2),
        weight_B=torch.ones(2),
    )


def step(network: nn.Module | None = None, *, lr: float = 0.1, **changes: Any) -> Step:
    network = network or Layer()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    made = Step(network, optimizer, None, None, {"point": 1.0}, None, CPU, None)
    return replace(made, **changes)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def logits(network: nn.Module, given: Batch) -> Tensor:
    return network(given.image_B3HW).logits_BChw


def test_a_step_goes_down_the_gradient_of_the_weighted_terms():
    taken = step(weights={"point": 2.0, "mask": 0.5}, class_weight_C=torch.tensor([1.0, 1.0, 3.0]))
    expected = Layer()
    scores = logits(expected, batch()).log_softmax(1)
    point = -(scores[0, 0, 1, 2] + 3 * scores[1, 2, 3, 0]) / 4
    mask = -scores[0, 1].mean()
    (2 * point + 0.5 * mask).backward()
    values = taken(batch())
    assert {name: float(value) for name, value in values.items()} == pytest.approx(
        {"point": point.item(), "mask": mask.item()}
    )
    assert not any(value.requires_grad for value in values.values())
    for (name, found), parameter in zip(taken.network.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, parameter - 0.1 * parameter.grad, msg=name)


def test_nothing_is_left_of_the_gradients_of_the_step_before():
    taken, again = step(lr=0.0), step(lr=0.0)
    taken(batch(1))
    for one in (taken, again):
        one(batch())
    for found, expected in zip(taken.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_the_schedule_goes_on_with_each_step():
    taken = step()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(taken.optimizer, gamma=0.5)
    taken = replace(taken, scheduler=scheduler)
    before = weights(taken.network)
    taken(batch())
    assert not same(before, weights(taken.network))
    assert scheduler.get_last_lr() == [0.05]
    taken(batch())
    assert scheduler.get_last_lr() == [0.025]


def test_a_scaled_step_is_the_step_and_one_that_overflows_is_left_out():
    plain, scaled = step(), step(scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    plain(batch()), scaled(batch())
    for found, expected in zip(scaled.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    large = step(scaler=scaler, weights={"point": 100.0})
    before = [parameter.clone() for parameter in large.network.parameters()]
    values = large(batch())
    assert torch.isfinite(values["point"])
    assert all(torch.equal(*pair) for pair in zip(before, large.network.parameters(), strict=True))
    assert scaler.get_scale() == 2.0**126


def test_the_forward_pass_is_of_the_type_asked_for():
    seen = []

    class Spy(Layer):
        def forward(self, image_B3HW: Tensor) -> Output:
            output = super().forward(image_B3HW)
            seen.append(output.logits_BChw.dtype)
            return output

    values = [step(Spy(), autocast=dtype)(batch())["point"] for dtype in (None, torch.bfloat16)]
    assert seen == [torch.float32, torch.bfloat16]
    assert {value.dtype for value in values} == {torch.float32}


@pytest.fixture
def one_rank() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_rehearsal_changes_nothing(one_rank: None):
    taken = step(DistributedDataParallel(Layer()))
    before = weights(taken.network)
    taken.rehearse(batch())
    assert same(before, weights(taken.network))
    assert all(parameter.grad is None for parameter in taken.network.parameters())
    taken(batch())
    assert not same(before, weights(taken.network))


def test_nothing_is_rehearsed_on_one_device():
    class Untouched(Layer):
        def forward(self, image_B3HW: Tensor) -> Output:
            pytest.fail("a forward pass was made")

    step(Untouched()).rehearse(batch())


@dataclass
class Told:
    """In place of a step: what it is told to give, batch by batch; whatever the batch is."""

    weights: Mapping[str, float] = field(default_factory=lambda: {"point": 1.0})
    device: torch.device = CPU

    def __call__(self, values: Any) -> dict[str, Tensor]:
        found = values if isinstance(values, tuple) else (values,)
        return {name: torch.tensor(float(value)) for name, value in zip(self.weights, found, strict=True)}


def run(told: Told, values: Sequence[Any], **options: Any) -> dict[str, float]:
    return run_epoch(told, values, **{"epoch": 3, "steps": len(values), **options})  # type: ignore[arg-type]


def test_an_epoch_is_the_mean_of_its_steps():
    told = Told({"point": 2.0, "mask": 0.5})
    assert run(told, [(1, 8), (2, 0), (6, 4)]) == {"loss": 8.0, "loss_point": 3.0, "loss_mask": 4.0}


def test_steps_that_were_taken_before_count_too():
    before = [{"point": 1.0}, {"point": 2.0}]
    assert run(Told(), [6.0], steps=3, before=before) == run(Told(), [1.0, 2.0, 6.0])
    assert run(Told(), [], steps=2, before=before)["loss"] == 1.5
    assert before == [{"point": 1.0}, {"point": 2.0}]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("bad", [0, 4, 20])
def test_a_diverged_loss_says_when_and_what_to_do(device: str, value: float, bad: int):
    values = [(1.0, value if number == bad else 1.0) for number in range(21)]
    told = Told({"point": 1.0, "mask": 1.0}, torch.device(device))
    with pytest.raises(DivergedError) as caught:
        run(told, values, steps=23, before=[{"point": 1.0, "mask": 1.0}] * 2)
    assert str(caught.value) == (
        f"the loss became {{'point': 1.0, 'mask': {value}}} at epoch 3, step {bad + 3}: the training has diverged; "
        "lower the learning rate (training.lr, training.encoder_lr), or use bf16 or fp32 in place of fp16"
    )


@pytest.mark.parametrize(("device", "taken"), [("cpu", 1), ("cuda", epoch.STEPS_BETWEEN_CHECKS)])
def test_a_gpu_is_not_asked_after_every_step(device: str, taken: int):
    seen = []

    def batches() -> Iterator[float]:
        for _ in range(100):
            seen.append(1)
            yield float("nan")

    with pytest.raises(WeaksegError):
        run_epoch(Told(device=torch.device(device)), batches(), epoch=1, steps=100)  # type: ignore[arg-type]
    assert len(seen) == taken


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("before", "left", "asked"),
    [(0, 40, [16, 32]), (0, 32, [16]), (0, 33, [16, 32]), (0, 15, []), (20, 20, [32]), (16, 2, [])],
)
def test_who_may_stop_it_is_asked_now_and_then_but_not_at_the_end(
    device: str, before: int, left: int, asked: list[int]
):
    rows = [{"point": float(number)} for number in range(before + left)]
    seen = []
    run(
        Told(device=torch.device(device)),
        [row["point"] for row in rows[before:]],
        steps=before + left,
        before=rows[:before],
        on_steps=lambda found: seen.append(list(found)),
    )
    assert seen == [rows[:count] for count in asked]


def test_who_stops_it_has_what_was_taken_so_far():
    class Stopped(Exception):
        pass

    kept = []

    def stop(rows: list[dict[str, float]]) -> None:
        kept.extend(rows)
        raise Stopped

    values = [float(number) for number in range(40)]
    with pytest.raises(Stopped):
        run(Told(), values, on_steps=stop)
    assert run(Told(), values[len(kept) :], steps=40, before=kept) == run(Told(), values)
