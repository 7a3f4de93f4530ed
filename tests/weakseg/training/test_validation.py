"""The loss that early stopping watches, against what it says of itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weakseg.datasets.examples import Example, InMemory
from weakseg.models import Output
from weakseg.training import validation_loss

FILL = (0.5, 0.5, 0.5)


class Net(nn.Module):
    """Half the resolution; dropout and batch statistics make training mode another thing than evaluation."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.head = nn.Conv2d(3, classes, 1, stride=2)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image_B3HW: Tensor) -> Output:
        self.seen.append(tuple(image_B3HW.shape))
        return Output(self.head(self.drop(self.norm(image_B3HW))), None, tuple(image_B3HW.shape[2:]))


def example(number: int, *, points: int = 3, masked: bool = True, size: tuple[int, int] = (8, 8)) -> Example:
    rng = np.random.default_rng(number)
    mask_HW = rng.integers(0, 3, size).astype(np.uint8)
    mask_HW[rng.random(size) < 0.1 * number] = 255  # each image has another number of labels
    yx_N2 = rng.integers(0, 8, (points, 2)).astype(np.float32)
    labels_N = rng.integers(0, 3, points).astype(np.int64)
    image_HW3 = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return Example(f"image {number}", image_HW3, yx_N2, labels_N, mask_HW if masked else None)


def loss(model: nn.Module, *examples: Example, **options: Any) -> float:
    given = {"weights": {"mask": 1.0}, "batch_size": 2, "device": torch.device("cpu"), "fill": FILL}
    return validation_loss(model, InMemory(examples), **given | options)  # type: ignore[arg-type]


def log_shares(model: nn.Module, given: Example) -> Tensor:
    """By class and pixel, in evaluation mode."""
    image_13HW = torch.from_numpy(given.image_HW3).permute(2, 0, 1)[None].float() / 255
    logits = nn.functional.interpolate(model.eval()(image_13HW).logits_BChw, size=(8, 8), mode="bilinear")
    return logits.detach()[0].log_softmax(0)


EXAMPLES = [example(number) for number in range(5)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_it_is_the_mean_over_all_labels_whatever_the_batches(batch_size: int):
    model = Net()
    total, count = 0.0, 0
    for given in EXAMPLES:
        shares = log_shares(model, given)
        for y, x in np.argwhere(given.mask_HW != 255):
            total, count = total - float(shares[given.mask_HW[y, x], y, x]), count + 1
    assert loss(model, *EXAMPLES, weights={"mask": 0.5}, batch_size=batch_size) == pytest.approx(
        0.5 * total / count, rel=1e-5
    )


def test_each_term_has_its_own_mean_and_weight():
    model = Net()
    labelled = [EXAMPLES[0], example(7, points=1, masked=False), example(8, points=0)]
    point, mask = (loss(model, *labelled, weights={name: 1.0}, batch_size=1) for name in ("point", "mask"))
    both = loss(model, *labelled, weights={"point": 2.0, "mask": 0.25, "keypoint": 0.0})
    assert both == pytest.approx(2 * point + 0.25 * mask, rel=1e-6)
    total, count = 0.0, 0
    for given in labelled:
        shares = log_shares(model, given)
        for (y, x), label in zip(given.points_N2.astype(int), given.labels_N, strict=True):
            total, count = total - float(shares[label, y, x]), count + 1
    assert count == 4
    assert point == pytest.approx(total / count, rel=1e-5)


def test_class_weights_count():
    model = Net()
    heavy = loss(model, *EXAMPLES, class_weight_C=torch.tensor([1e6, 1.0, 1.0]), batch_size=2)
    only = [np.where(given.mask_HW == 0, 0, 255).astype(np.uint8) for given in EXAMPLES]
    first = [
        Example(given.image_id, given.image_HW3, given.points_N2, given.labels_N, mask_HW)
        for given, mask_HW in zip(EXAMPLES, only, strict=True)
    ]
    assert heavy == pytest.approx(loss(model, *first), rel=1e-4)


@pytest.mark.parametrize(("rank", "mine"), [(0, [0, 3]), (1, [1, 4]), (2, [2])])
def test_a_rank_takes_every_so_manyth_example(rank: int, mine: list[int]):
    model = Net()
    expected = loss(model, *(EXAMPLES[number] for number in mine))
    assert loss(model, *EXAMPLES, rank=rank, world=3) == pytest.approx(expected, rel=1e-6)


def test_a_rank_without_an_example_takes_part_with_nothing():
    model = Net()
    assert loss(model, *EXAMPLES, weights={"mask": 1.0, "point": 1.0}, rank=5, world=7) == 0.0
    assert model.seen == []


def test_labels_that_nobody_gave_count_nothing():
    assert loss(Net(), example(0, points=0, masked=False), weights={"mask": 1.0, "point": 1.0}) == 0.0


def test_batches_are_no_larger_than_asked_for():
    model = Net()
    loss(model, *EXAMPLES, batch_size=2)
    assert model.seen == [(2, 3, 8, 8), (2, 3, 8, 8), (1, 3, 8, 8)]


def test_it_leaves_the_model_as_it_was():
    model = Net()
    model.norm.eval()  # a frozen part stays frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = loss(model, *EXAMPLES)
    assert loss(model, *EXAMPLES) == first
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_images_of_several_sizes_are_padded_with_the_fill():
    class Spy(Net):
        def forward(self, image_B3HW: Tensor) -> Output:
            corners.append(image_B3HW[0, :, -1, -1].tolist())
            return super().forward(image_B3HW)

    corners: list[list[float]] = []
    loss(Spy(), example(1, size=(8, 8)), example(2, size=(8, 12)), fill=(0.25, 0.5, 1.0))
    assert corners == [[0.25, 0.5, 1.0]]


def test_the_forward_pass_is_of_the_type_asked_for():
    model, seen = Net(), []
    model.head.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    full, half = (loss(model, *EXAMPLES, autocast=dtype, batch_size=5) for dtype in (None, torch.bfloat16))
    assert seen == [torch.float32, torch.bfloat16]
    assert half == pytest.approx(full, rel=0.02)
