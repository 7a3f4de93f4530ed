"""Every term in a mixed batch: its own loss, blind to images that lack what it needs, the same on two ranks."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from weakseg.losses import (
    TERMS,
    assignment_weight,
    global_mean,
    keypoint_loss,
    objective,
    partial_cross_entropy,
    point_cross_entropy,
    proportion_loss,
    superpixel_assignment,
    superpixel_consistency,
)
from weakseg.models import Output, full_resolution, head_logits
from weakseg.models.superpixel_upsampling import assign

SIZE = (32, 48)
WEIGHTS = {"point": 0.7, "mask": 0.4, "proportion": 2.0, "keypoint": 0.3, "consistency": 1.5, "assignment": 0.1}


@dataclass
class Batch:
    """As training makes them; rows of an image are of one index in every field."""

    image_B3HW: torch.Tensor
    points_N3: torch.Tensor
    labels_N: torch.Tensor
    mask_BHW: torch.Tensor | None
    segments_BHW: torch.Tensor | None
    keypoints_BHW: torch.Tensor | None
    proportions_BC: torch.Tensor | None
    content_B4: torch.Tensor
    weight_B: torch.Tensor

    def part(self, images: list[int]) -> "Batch":
        """The batch of some of its images, in the order given."""
        rows = [(self.points_N3[:, 0] == image).nonzero()[:, 0] for image in images]
        points = torch.cat([self.points_N3[found] for found in rows])
        points[:, 0] = torch.cat([torch.full((len(found),), float(new)) for new, found in enumerate(rows)])
        own = {"points_N3": points, "labels_N": self.labels_N[torch.cat(rows)]}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        return Batch(**own, **{name: None if value is None else value[images] for name, value in rest.items()})


class Network(nn.Module):
    """Logits at stride 16 and both assignments, from a few convolutions."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.four = nn.Conv2d(3, 6, 4, stride=4)
        self.eight = nn.Conv2d(6, 6, 2, stride=2)
        self.sixteen = nn.Conv2d(6, 6, 2, stride=2)
        self.head = nn.Conv2d(6, classes, 1)

    def forward(self, image_B3HW: torch.Tensor) -> Output:
        four = self.four(image_B3HW)
        eight = self.eight(four)
        sixteen = self.sixteen(eight)
        assignments = (assign(eight, sixteen), assign(four, eight))
        return Output(4 * self.head(sixteen), assignments, (image_B3HW.shape[2], image_B3HW.shape[3]))


def mixed() -> Batch:
    """Four images: the first has everything, the second points and proportions, the third a mask, the last nothing."""
    draw = torch.Generator().manual_seed(1)
    height, width = SIZE
    points = torch.tensor([[0, 3, 5], [0, 20, 40], [1, 7, 9]], dtype=torch.float32)
    mask = torch.full((4, *SIZE), 255, dtype=torch.uint8)
    mask[0, :4], mask[2, :, 7] = 1, 2
    keypoints = torch.full((4, *SIZE), 255, dtype=torch.uint8)
    keypoints[0, 2:5, 3:6], keypoints[0, 30, 2] = 0, 2
    proportions = torch.full((4, 3), torch.nan)
    proportions[0], proportions[1] = torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.0, 1.0, 0.0])
    segments = (torch.arange(height)[:, None] // 8 * 6 + torch.arange(width) // 8).int().repeat(4, 1, 1)
    segments[3] = -1
    content = torch.tensor([[0, 0, height, width]] * 4)
    content[1] = torch.tensor([0, 8, 24, 40])
    return Batch(
        torch.rand(4, 3, *SIZE, generator=draw),
        points,
        torch.tensor([0, 2, 1]),
        mask,
        segments,
        keypoints,
        proportions,
        content,
        torch.ones(4),
    )


def inside(batch: Batch) -> torch.Tensor:
    """What is image, as a map."""
    content = torch.zeros(len(batch.content_B4), *SIZE, dtype=torch.bool)
    for map_HW, (top, left, bottom, right) in zip(content, batch.content_B4.tolist(), strict=True):
        map_HW[top:bottom, left:right] = True
    return content


def expected(name: str, output: Output, batch: Batch) -> torch.Tensor:
    """The plain loss that a term stands for."""
    logits = full_resolution(output, SIZE)
    grid = logits[..., ::2, ::2].softmax(1)
    content = inside(batch)
    match name:
        case "point":
            return point_cross_entropy(head_logits(output), batch.points_N3, batch.labels_N, size=SIZE)
        case "mask":
            return partial_cross_entropy(logits, batch.mask_BHW)
        case "proportion":
            return proportion_loss(grid, batch.proportions_BC, valid_BHW=content[:, ::2, ::2])
        case "keypoint":
            return keypoint_loss(logits, batch.keypoints_BHW)
        case "consistency":
            return superpixel_consistency(grid, batch.segments_BHW.where(content, -1)[:, ::2, ::2])
        case _:
            return superpixel_assignment(batch.image_B3HW, output.assignments, valid_BHW=content)


def test_every_term_is_weighed_here():
    assert WEIGHTS.keys() == TERMS.keys()


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_its_loss(name: str):
    network, batch = Network(), mixed()
    output = network(batch.image_B3HW)
    loss, values = global_mean(objective(output, batch, weights={name: 0.5}), {name: 0.5})
    torch.testing.assert_close(values[name], expected(name, output, batch).detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss, 0.5 * expected(name, output, batch), rtol=1e-5, atol=1e-6)
    assert values[name] > 0


@pytest.mark.parametrize("name", [name for name in TERMS if name != "assignment"])
def test_images_that_lack_what_a_term_needs_do_not_count(name: str):
    network, batch = Network(), mixed()
    has = {"point": [0, 1], "mask": [0, 2], "proportion": [0, 1], "keypoint": [0], "consistency": [0, 1, 2]}[name]
    found = []
    for images in ([0, 1, 2, 3], has, has[::-1]):
        network.zero_grad()
        part = batch.part(images)
        loss = global_mean(objective(network(part.image_B3HW), part, weights={name: 1.0}), {name: 1.0}).loss
        loss.backward()
        found.append([loss.detach(), network.head.weight.grad.clone(), network.four.weight.grad.clone()])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_repeats_do_not_count(name: str):
    network, batch = Network(), mixed()
    filled = batch.part([0, 1, 2, 3, 0, 1])
    filled.weight_B = torch.tensor([1.0, 1, 1, 1, 0, 0])
    alone, repeated = (
        global_mean(objective(network(part.image_B3HW), part, weights={name: 1.0}), {name: 1.0}).loss
        for part in (batch, filled)
    )
    torch.testing.assert_close(repeated, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in TERMS if name != "assignment"])
def test_nothing_to_read_is_zero_with_a_graph(name: str):
    network, batch = Network(), mixed().part([3])
    for field in ("mask_BHW", "segments_BHW", "keypoints_BHW", "proportions_BC"):
        setattr(batch, field, None)
    loss = global_mean(objective(network(batch.image_B3HW), batch, weights={name: 1.0}), {name: 1.0}).loss
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or not p.grad.isnan().any() for p in network.parameters())


@pytest.mark.parametrize("name", [name for name in TERMS if name != "mask"])
def test_only_dense_labels_need_logits_of_every_pixel(name: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("full resolution is made")

    monkeypatch.setattr("weakseg.losses.terms.full_resolution", refuse)
    network, batch = Network(), mixed()
    term = objective(network(batch.image_B3HW), batch, weights={name: 1.0})[name]
    assert term.total > 0


def test_assignment_wants_learned_superpixels():
    batch = mixed()
    output = Network()(batch.image_B3HW)._replace(assignments=None)
    with pytest.raises(ValueError, match="build the model with upsampling='superpixel'"):
        objective(output, batch, weights={"assignment": 1.0})


def test_the_weight_of_cells_is_what_their_mean_divides_by():
    batch = mixed()
    output = Network()(batch.image_B3HW)
    term = objective(output, batch, weights={"assignment": 1.0})["assignment"]
    weight = assignment_weight(batch.image_B3HW, output.assignments, valid_BHW=inside(batch))
    torch.testing.assert_close(term.weight, weight)


def test_one_channel_is_the_pair_with_zero():
    batch, one, two = mixed(), Network(classes=1), Network(classes=2)
    batch.labels_N = batch.labels_N.clamp(max=1)
    for field in ("mask_BHW", "keypoints_BHW"):
        labels = getattr(batch, field)
        setattr(batch, field, labels.where(labels == 255, labels.clamp(max=1)))
    batch.proportions_BC = torch.tensor([[0.4], [1.0], [torch.nan], [torch.nan]])
    with torch.no_grad():
        for name, value in one.state_dict().items():
            if "head" in name:
                two.state_dict()[name][0], two.state_dict()[name][1:] = 0, value
            else:
                two.state_dict()[name].copy_(value)
    for name in ("point", "mask", "keypoint"):
        weights = {name: 1.0}
        losses = [global_mean(objective(n(batch.image_B3HW), batch, weights=weights), weights).loss for n in (one, two)]
        torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-6)
    weights = {"proportion": 1.0}
    found = global_mean(objective(one(batch.image_B3HW), batch, weights=weights), weights).loss
    pair = torch.cat([1 - batch.proportions_BC, batch.proportions_BC], 1)
    batch.proportions_BC = pair
    both = global_mean(objective(two(batch.image_B3HW), batch, weights=weights), weights).loss
    torch.testing.assert_close(2 * found, both, rtol=1e-4, atol=1e-6)  # the squared distance is there twice


PARTS = [[[0, 1], [2, 3]], [[3], [0, 2, 1]]]
"""Images by rank: the labels fall unevenly, and a rank may have none of a kind."""


def _step(model: nn.Module, batch: Batch) -> dict[str, object]:
    loss, values = global_mean(objective(model(batch.image_B3HW), batch, weights=WEIGHTS), WEIGHTS)
    loss.backward()
    return {"loss": loss.detach(), "values": values, "gradients": [p.grad for p in model.parameters()]}


def _rank(_: int, folder: str, rank: int = 1) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        for number, parts in enumerate(PARTS):
            result = _step(DistributedDataParallel(Network()), mixed().part(parts[rank]))
            dist.all_reduce(result["loss"])
            torch.save(result, Path(folder) / f"{number}-{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_ranks_learn_as_one(tmp_path: Path):
    other = torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=1, join=False)
    _rank(0, str(tmp_path), rank=0)
    while not other.join():
        pass
    alone = _step(Network(), mixed())
    for number in range(len(PARTS)):
        for rank in range(2):
            result = torch.load(tmp_path / f"{number}-{rank}.pt", weights_only=True)
            result["loss"] /= 2  # a rank's loss is its share: their mean is the loss
            torch.testing.assert_close(result, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("superpixels", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "assignment"])
def test_a_half_precision_head_is_read_in_float32(name: str, dtype: torch.dtype, superpixels: bool) -> None:
    """All of a cell's pixels add to its gradient: in half precision a long sum would stop growing."""
    batch = mixed()
    output = Network()(batch.image_B3HW)
    assignments = tuple(a.detach() for a in output.assignments) if superpixels else None
    half = output.logits_BChw.detach().to(dtype)
    found, expected = half.clone().requires_grad_(), half.float().requires_grad_()
    values = []
    for head in (found, expected):
        value = global_mean(
            objective(Output(head, assignments, output.padded_size), batch, weights={name: 1.0}), {name: 1.0}
        ).loss
        value.backward()
        values.append(value.detach())
    assert torch.equal(*values)
    torch.testing.assert_close(found.grad, expected.grad.to(dtype), rtol=0, atol=0)
