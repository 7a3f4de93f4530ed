"""Cross-entropy at labelled points, read from the head's logits without upsampling them."""

import torch
import torch.nn.functional as F

from weakseg.losses.partial_cross_entropy import Reduction, cross_entropy, in_float32
from weakseg.schema import VOID


def point_cross_entropy(
    logits_BChw: torch.Tensor,
    points_N3: torch.Tensor,
    labels_N: torch.Tensor,
    *,
    size: tuple[int, int],
    weight_C: torch.Tensor | None = None,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Equal in value and gradient to `partial_cross_entropy` on `full_resolution` logits with those pixels labelled.

    It upsamples the points that have a label, not the whole map: B * C * H * W values are never made.

    Args:
        logits_BChw: `head_logits(output)`: class scores before bilinear upsampling (not `output.logits_BChw`, to which
            learned superpixels are still to be applied). One channel z means the pair (0, z), labels 0 and 1.
        points_N3: (b, y, x) float: b the image's index in the batch, y and x in pixels of the padded input, an integer
            = a pixel's centre. Points outside read the border.
        labels_N: Integer class indices, 255 = void: no loss reads it.
        size: `output.padded_size`: (height, width) of the input with its padding, not of the image.
        weight_C: Weight per class (two for one channel); the mean then divides by the sum of the labels' weights.
        reduction: "mean" over labelled points, or "sum".

    Returns:
        A scalar; 0 with a graph if there is no label.

    Raises:
        ValueError: If shapes do not go together or the reduction is unknown.
        IndexError: If a label is no class or a point's image is not in the batch (on the CPU).
    """
    if logits_BChw.ndim != 4 or points_N3.ndim != 2 or points_N3.shape[1] != 3 or labels_N.shape != points_N3.shape[:1]:
        raise ValueError(
            "logits must be BChw, points N3 (b, y, x) and labels N, "
            f"came {tuple(logits_BChw.shape)}, {tuple(points_N3.shape)}, {tuple(labels_N.shape)}"
        )
    logits_NC = read_points(logits_BChw, points_N3, size=size)
    return cross_entropy(logits_NC, labels_N, ignore_index=VOID, weight_C=weight_C, reduction=reduction)


def read_points(logits_BChw: torch.Tensor, points_N3: torch.Tensor, *, size: tuple[int, int]) -> torch.Tensor:
    """Logits at points as bilinear upsampling (align_corners=False) to `size` would give them.

    Args:
        logits_BChw: Scores at the head's own resolution.
        points_N3: (b, y, x) float, as in `point_cross_entropy`.
        size: (height, width) in pixels that the scores cover.

    Returns:
        logits_NC in float32 (float64 if the scores are).
    """
    _, classes, height, width = logits_BChw.shape
    # One row per cell. Rows read through an embedding have a gradient that is summed in one order whatever the number
    # of threads; plain indexing sums with atomics once there are many.
    table_MC = in_float32(logits_BChw).permute(0, 2, 3, 1).reshape(-1, classes)
    top_N, bottom_N, down_N = _neighbours(points_N3[:, 1], height, size[0])
    left_N, right_N, across_N = _neighbours(points_N3[:, 2], width, size[1])
    image_N = points_N3[:, 0].long()
    rows_4N = torch.stack([(image_N * height + y) * width + x for y in (top_N, bottom_N) for x in (left_N, right_N)])
    shares_4N = torch.stack([v * h for v in (1 - down_N, down_N) for h in (1 - across_N, across_N)])
    return (F.embedding(rows_4N, table_MC) * shares_4N.to(table_MC)[..., None]).sum(dim=0)


def _neighbours(position_N: torch.Tensor, cells: int, pixels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The two cells around each position along one axis, and the share of the second."""
    source_N = ((position_N.double() + 0.5) * (cells / pixels) - 0.5).clamp(0, cells - 1)
    first_N = source_N.floor()
    share_N = source_N - first_N
    first_N = first_N.long()
    return first_N, (first_N + 1).clamp(max=cells - 1), share_N
