from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from weakseg.losses import global_mean, objective, partial_cross_entropy, point_cross_entropy
from weakseg.models import Output, full_resolution

CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 3.0])


@dataclass
class Batch:
    image_B3HW: torch.Tensor
    points_N3: torch.Tensor
    labels_N: torch.Tensor
    mask_BHW: torch.Tensor | None = None
    weight_B: torch.Tensor | None = None

    def part(self, images):
        """The batch of some of its images, in the order given."""
        chosen = [(self.points_N3[:, 0] == image).nonzero()[:, 0] for image in images]
        points = torch.cat([self.points_N3[rows] for rows in chosen])
        points[:, 0] = torch.cat([torch.full((len(rows),), float(new)) for new, rows in enumerate(chosen)])
        mask = None if self.mask_BHW is None else self.mask_BHW[images]
        weight = None if self.weight_B is None else self.weight_B[images]
        return Batch(self.image_B3HW[images], points, self.labels_N[torch.cat(chosen)], mask, weight)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 8, stride=8)

    def forward(self, image_B3HW):
        return Output(self.conv(image_B3HW), None, tuple(image_B3HW.shape[-2:]))


def batch(images=4, counts=(5, 2, 0, 0), mask=False):
    """The last images have no label at all."""
    generator = torch.Generator().manual_seed(1)
    points = torch.cat([torch.full((n, 3), float(image)) for image, n in enumerate(counts)])
    points[:, 1:] = torch.rand(len(points), 2, generator=generator) * 23
    labels = torch.randint(0, 3, (len(points),), generator=generator)
    labels[:1] = 255
    masks = None
    if mask:
        masks = torch.full((images, 24, 24), 255, dtype=torch.uint8)
        masks[0, :3] = 1
        masks[1, :, 5] = 2
    return Batch(torch.rand(images, 3, 24, 24, generator=generator), points, labels, masks)


WEIGHTS = {"point": 0.7, "mask": 0.2}


@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHTS])
def test_alone_it_is_the_weighted_sum_of_the_losses(class_weight):
    model, data = Tiny(), batch(mask=True)
    output = model(data.image_B3HW)
    point = point_cross_entropy(output.logits_BChw, data.points_N3, data.labels_N, size=(24, 24), weight_C=class_weight)
    mask = partial_cross_entropy(full_resolution(output, (24, 24)), data.mask_BHW, weight_C=class_weight)
    loss, values = global_mean(objective(output, data, weights=WEIGHTS, class_weight_C=class_weight), WEIGHTS)
    torch.testing.assert_close(loss, 0.7 * point + 0.2 * mask)
    torch.testing.assert_close(values["point"], point.detach())
    torch.testing.assert_close(values["mask"], mask.detach())
    assert not values["point"].requires_grad


@pytest.mark.parametrize("mask", [False, True])
def test_images_of_weight_zero_do_not_count(mask):
    model, data = Tiny(), batch(counts=(5, 2, 3, 0), mask=mask)
    data.weight_B = torch.tensor([1.0, 0.0, 1.0, 0.0])
    weights = {"point": 1.0, "mask": 1.0}
    losses = []
    for part in (data, data.part([0, 2])):
        losses.append(global_mean(objective(model(part.image_B3HW), part, weights=weights), weights).loss)
    torch.testing.assert_close(*losses)


def test_no_label_is_zero_with_a_graph():
    model, data = Tiny(), batch(counts=(0, 0, 0, 0))
    weights = {"point": 1.0, "mask": 1.0}
    loss, values = global_mean(objective(model(data.image_B3HW), data, weights=weights), weights)
    loss.backward()
    assert loss.item() == 0
    assert values["point"].item() == values["mask"].item() == 0
    assert torch.equal(model.conv.weight.grad, torch.zeros_like(model.conv.weight))


def test_a_term_of_weight_zero_is_not_computed():
    model, data = Tiny(), batch()
    assert set(objective(model(data.image_B3HW), data, weights={"point": 1.0, "mask": 0.0})) == {"point"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"points": 1.0}, "unknown loss term points; known: point, mask"),
        ({"point": -1.0}, "-1"),
        ({"mask": 0.0}, "0"),
        ({"mask": float("nan")}, "nan"),
    ],
)
def test_refusals(weights, message):
    data = batch()
    with pytest.raises(ValueError, match=message):
        objective(Tiny()(data.image_B3HW), data, weights=weights)


CASES = [  # masks too?, images by rank, class weights
    (False, [[0, 1], [2, 3]], None),  # the second rank has no label
    (True, [[1], [3, 0, 2]], CLASS_WEIGHTS),
]


def _step(model, data, class_weight):
    weights = {"point": 1.0} if data.mask_BHW is None else WEIGHTS
    terms = objective(model(data.image_B3HW), data, weights=weights, class_weight_C=class_weight)
    loss, values = global_mean(terms, weights)
    loss.backward()
    return {"loss": loss.detach(), "values": values, "gradients": [p.grad for p in model.parameters()]}


def _rank(_, folder, rank=1):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        _run(rank, folder)
    finally:
        dist.destroy_process_group()


def _run(rank, folder):
    for number, (mask, parts, class_weight) in enumerate(CASES):
        result = _step(DistributedDataParallel(Tiny()), batch(mask=mask).part(parts[rank]), class_weight)
        dist.all_reduce(result["loss"])
        torch.save(result, Path(folder) / f"{number}-{rank}.pt")


def test_loss_and_gradient_do_not_depend_on_ranks(tmp_path):
    other = torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=1, join=False)
    _rank(0, str(tmp_path), rank=0)
    while not other.join():
        pass
    for number, (mask, _, class_weight) in enumerate(CASES):
        alone = _step(Tiny(), batch(mask=mask), class_weight)
        assert alone["loss"] > 0
        for rank in range(2):
            result = torch.load(tmp_path / f"{number}-{rank}.pt", weights_only=True)
            result["loss"] /= 2  # a rank's loss is its share: their mean is the loss
            torch.testing.assert_close(result, alone)


def test_a_model_of_another_kind_is_told_what_to_return():
    with pytest.raises(TypeError, match=r"weakseg\.models\.Output, came Tensor: .*Output\(logits, None"):
        objective(torch.zeros(1, 2, 4, 4), None, weights={"point": 1.0})
