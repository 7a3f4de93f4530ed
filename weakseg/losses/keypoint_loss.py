"""The loss from a few keypoints per image and class."""

import torch
import torch.nn.functional as F

from weakseg.losses.channels import two_channels
from weakseg.losses.partial_cross_entropy import Reduction, check_reduction, in_float32
from weakseg.losses.point_cross_entropy import read_points
from weakseg.schema import VOID


def keypoint_loss(
    logits_BCHW: torch.Tensor,
    labels_BHW: torch.Tensor,
    *,
    ignore_index: int = VOID,
    size: tuple[int, int] | None = None,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Per image and class, the mean of -log Y over its keypoints; summed (SPSS, arXiv 2305.15608 version 1, Eq. 3).

    Within an image every class that has keypoints weighs the same, however many pixels its discs cover. Keypoints are
    of their class, so that the other channels do not enter but through the softmax. One channel z means the pair
    (0, z): the mean over positives of -log sigmoid(z) plus the mean over negatives of -log(1 - sigmoid(z)).

    Only the labelled pixels are read: neither time nor memory grows with the rest, and infinite logits there do not
    matter.

    Args:
        logits_BCHW: Class scores; of the labels' size unless `size` is given.
        labels_BHW: Integer class indices, `ignore_index` where there is no keypoint. One channel: 0 and 1.
        ignore_index: The code for "no keypoint".
        size: Where the logits are `head_logits(output)`: `output.padded_size`, the (height, width) in pixels that
            they cover, padding included. They are then read by exact bilinear weights, as `point_cross_entropy` does,
            and the result equals that on `full_resolution` logits. The labels may be smaller (the image alone).
        reduction: "sum" over images and classes, or "mean": that sum divided by the number of images with keypoints.

    Returns:
        A scalar in float32 (float64 if the logits are); 0 with a graph if there is no keypoint.

    Raises:
        ValueError: If shapes do not go together or the reduction is unknown.
        IndexError: If a label is no class (on the CPU; a device-side assertion on CUDA).
    """
    check_reduction(reduction)
    _check_shapes(logits_BCHW, labels_BHW, size)
    # A selection makes the host wait for a GPU once per step. Reading every pixel instead would cost more there too.
    points_N3 = (labels_BHW != ignore_index).nonzero()
    image_N, y_N, x_N = points_N3.unbind(dim=1)
    labels_N = labels_BHW[image_N, y_N, x_N].long()
    if size is None or size == logits_BCHW.shape[2:]:
        logits_NC = logits_BCHW[image_N, :, y_N, x_N]
    else:
        logits_NC = read_points(logits_BCHW, points_N3, size=size)
    logits_NC = two_channels(in_float32(logits_NC))
    # None of them is left. Torch's own, -100, would cost nothing and yet be counted.
    loss_N = F.cross_entropy(logits_NC, labels_N, ignore_index=ignore_index, reduction="none")
    images, classes = logits_BCHW.shape[0], logits_NC.shape[1]
    group_N = image_N * classes + labels_N
    count_G = torch.bincount(group_N, minlength=images * classes)
    total = (loss_N / count_G[group_N]).sum()
    if reduction == "sum":
        return total
    return total / keypoint_weight(labels_BHW, ignore_index=ignore_index).clamp(min=1).to(total)


def keypoint_weight(labels_BHW: torch.Tensor, *, ignore_index: int = VOID) -> torch.Tensor:
    """What the mean of `keypoint_loss` divides by: the number of images with keypoints; a float64 scalar."""
    return (labels_BHW != ignore_index).flatten(1).any(dim=1).sum(dtype=torch.float64)


def _check_shapes(logits_BCHW: torch.Tensor, labels_BHW: torch.Tensor, size: tuple[int, int] | None) -> None:
    came = f"{tuple(logits_BCHW.shape)}, {tuple(labels_BHW.shape)}"
    if logits_BCHW.ndim != 4 or labels_BHW.ndim != 3 or len(logits_BCHW) != len(labels_BHW):
        raise ValueError(f"logits must be BCHW and labels BHW of one B, came {came}")
    height, width = logits_BCHW.shape[2:] if size is None else size
    if size is None and labels_BHW.shape[1:] != logits_BCHW.shape[2:]:
        raise ValueError(
            f"logits and labels must have one height and width, came {came}: for logits at the head's own resolution "
            f"give size, what they cover in pixels"
        )
    if labels_BHW.shape[1] > height or labels_BHW.shape[2] > width:
        raise ValueError(f"labels must lie within size {(height, width)}, came {tuple(labels_BHW.shape)}")
