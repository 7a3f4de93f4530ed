"""The terms of the objective: what each reads of a batch, as one rank's sum and count."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Protocol

import torch

from weakseg.losses.keypoint_loss import keypoint_loss, keypoint_weight
from weakseg.losses.partial_cross_entropy import in_float32, label_weight, partial_cross_entropy
from weakseg.losses.point_cross_entropy import point_cross_entropy
from weakseg.losses.proportion_loss import proportion_loss, proportion_weight
from weakseg.losses.read_grid import read_grid
from weakseg.losses.superpixel_assignment import assignment_weight, superpixel_assignment
from weakseg.losses.superpixel_consistency import consistency_weight, superpixel_consistency
from weakseg.models.output import Output, full_resolution, head_logits
from weakseg.schema import VOID

GRID = 2
"""Terms that average over pixels read every second row and column: the same within 1 % at a quarter of the cost."""


class Targets(Protocol):
    """What the terms read of a training batch.

    Attributes:
        image_B3HW: The images, RGB in 0..1.
        points_N3: (b, y, x) float of the labelled points.
        labels_N: Their classes.
        mask_BHW: Dense labels, 255 = none; None where no image has them.
        segments_BHW: Superpixel ids, -1 = padding; None where no image has them.
        keypoints_BHW: Classes of keypoints, 255 = none; None where no image has them.
        proportions_BC: Share of each class, a row of NaN = not known; None where no image has them.
        content_B4: Top, left, bottom, right (exclusive) of what is image and not padding; None = all is image.
        weight_B: 0 for a repeat that only fills up a batch: its labels do not count. None = all count.
    """

    @property
    def image_B3HW(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def points_N3(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def labels_N(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def mask_BHW(self) -> torch.Tensor | None: ...  # noqa: D102
    @property
    def segments_BHW(self) -> torch.Tensor | None: ...  # noqa: D102
    @property
    def keypoints_BHW(self) -> torch.Tensor | None: ...  # noqa: D102
    @property
    def proportions_BC(self) -> torch.Tensor | None: ...  # noqa: D102
    @property
    def content_B4(self) -> torch.Tensor | None: ...  # noqa: D102
    @property
    def weight_B(self) -> torch.Tensor | None: ...  # noqa: D102


class Term(NamedTuple):
    """One rank's share of a term: a sum with its graph, and the sum of weights (the count) that a mean divides by."""

    total: torch.Tensor
    weight: torch.Tensor


class Step:
    """A batch with its prediction; maps that several terms read are made once.

    Args:
        output: What the model returned for the batch's images.
        batch: Their labels.
        class_weight_C: Weight per class of the cross-entropies.
    """

    def __init__(self, output: Output, batch: Targets, class_weight_C: torch.Tensor | None) -> None:
        """Keep what the maps are made from."""
        self.output, self.batch, self.class_weight_C = output, batch, class_weight_C

    @cached_property
    def head_BChw(self) -> torch.Tensor:
        """Logits at the head's resolution, after the learned part of the upsampling."""
        return head_logits(self.output)

    @cached_property
    def logits_BCHW(self) -> torch.Tensor:
        """Logits of every pixel of the batch's images, in float32.

        Upsampled in half precision their gradient would be too: a cell at stride 16 sums up that of 1024 pixels, and
        in bfloat16 such a sum stops growing at three quarters.
        """
        height, width = self.batch.image_B3HW.shape[-2:]
        head = self.output._replace(logits_BChw=in_float32(self.output.logits_BChw))
        return full_resolution(head, (height, width))

    @cached_property
    def grid_BChw(self) -> torch.Tensor:
        """Probabilities of every second row and column of the batch's images, from the first; float32."""
        height, width = self.batch.image_B3HW.shape[-2:]
        logits_BChw = read_grid(self.head_BChw, size=self.output.padded_size, step=GRID)
        logits_BChw = logits_BChw[..., : -(-height // GRID), : -(-width // GRID)]
        return logits_BChw.sigmoid() if logits_BChw.shape[1] == 1 else logits_BChw.softmax(1)

    @cached_property
    def content_BHW(self) -> torch.Tensor:
        """Where there is image and not padding, of images that count."""
        images, _, height, width = self.batch.image_B3HW.shape
        device = self.output.logits_BChw.device
        if self.batch.content_B4 is None:
            inside_BHW = torch.ones(images, height, width, dtype=torch.bool, device=device)
        else:
            top, left, bottom, right = self.batch.content_B4.to(device).unbind(1)
            rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
            rows_BH = (rows >= top[:, None]) & (rows < bottom[:, None])
            inside_BHW = rows_BH[:, :, None] & ((columns >= left[:, None]) & (columns < right[:, None]))[:, None]
        return inside_BHW if self.batch.weight_B is None else inside_BHW & (self.batch.weight_B > 0)[:, None, None]

    def nothing(self) -> Term:
        """A term that no image of this rank has what it needs for: 0 with a graph."""
        # An empty slice, not a product with 0: the graph stays whole even where logits are infinite.
        total = self.head_BChw[:0].float().sum()
        return Term(total, torch.zeros((), dtype=torch.float64, device=total.device))

    def counting(self, labels_BHW: torch.Tensor) -> torch.Tensor:
        """Labels of images that count, 255 elsewhere."""
        labels_BHW = labels_BHW.long()
        if self.batch.weight_B is None:
            return labels_BHW
        return labels_BHW.where((self.batch.weight_B > 0)[:, None, None], VOID)


def point(step: Step) -> Term:
    """Cross-entropy at labelled points."""
    batch, labels_N = step.batch, step.batch.labels_N.long()
    if batch.weight_B is not None:
        counted_N = batch.weight_B.to(labels_N.device)[batch.points_N3[:, 0].long()] > 0
        labels_N = labels_N.where(counted_N, VOID)
    total = point_cross_entropy(
        step.head_BChw,
        batch.points_N3,
        labels_N,
        size=step.output.padded_size,
        weight_C=step.class_weight_C,
        reduction="sum",
    )
    return Term(total, label_weight(labels_N, weight_C=step.class_weight_C))


def mask(step: Step) -> Term:
    """Cross-entropy over full masks and coarse labels."""
    if step.batch.mask_BHW is None:
        return step.nothing()
    labels_BHW = step.counting(step.batch.mask_BHW)
    total = partial_cross_entropy(step.logits_BCHW, labels_BHW, weight_C=step.class_weight_C, reduction="sum")
    return Term(total, label_weight(labels_BHW, weight_C=step.class_weight_C))


def proportion(step: Step) -> Term:
    """Squared distance of proportions, per image that has them."""
    proportions_BC = step.batch.proportions_BC
    if proportions_BC is None:
        return step.nothing()
    valid_Bhw = step.content_BHW[:, ::GRID, ::GRID]
    total = proportion_loss(step.grid_BChw, proportions_BC, valid_BHW=valid_Bhw, reduction="sum")
    return Term(total, proportion_weight(proportions_BC, valid_BHW=valid_Bhw))


def keypoint(step: Step) -> Term:
    """Cross-entropy at keypoints, mean per class and image, summed over classes."""
    if step.batch.keypoints_BHW is None:
        return step.nothing()
    labels_BHW = step.counting(step.batch.keypoints_BHW)
    total = keypoint_loss(step.head_BChw, labels_BHW, size=step.output.padded_size, reduction="sum")
    return Term(total, keypoint_weight(labels_BHW))


def consistency(step: Step) -> Term:
    """Squared distance of each pixel's prediction to the mean of its segment."""
    segments_BHW = step.batch.segments_BHW
    if segments_BHW is None:
        return step.nothing()
    segments_Bhw = segments_BHW.where(step.content_BHW, -1)[:, ::GRID, ::GRID]
    total = superpixel_consistency(step.grid_BChw, segments_Bhw, reduction="sum")
    return Term(total, consistency_weight(segments_Bhw))


def assignment(step: Step) -> Term:
    """How well the learned superpixels rebuild the image."""
    if step.output.assignments is None:
        raise ValueError("the term assignment needs learned superpixels: build the model with upsampling='superpixel'")
    read = (step.batch.image_B3HW, step.output.assignments)
    total = superpixel_assignment(*read, valid_BHW=step.content_BHW, reduction="sum")
    return Term(total, assignment_weight(*read, valid_BHW=step.content_BHW))


TERMS: dict[str, Callable[[Step], Term]] = {
    "point": point,
    "mask": mask,
    "proportion": proportion,
    "keypoint": keypoint,
    "consistency": consistency,
    "assignment": assignment,
}
