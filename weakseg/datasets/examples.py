"""What training and inference read: an image with whatever is known about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from weakseg import codec
from weakseg.datasets.tiling import Record
from weakseg.schema import SUM_TOLERANCE


@dataclass(frozen=True)
class Example:
    """One image.

    Args:
        image_id: Its name.
        image_HW3: RGB, uint8.
        points_N2: Labelled pixels (y, x), float32; an integer is a pixel's centre.
        labels_N: Their classes, int64, 255 = void: nobody could name the pixel, so that nothing labels it.
        mask_HW: Class indices, uint8, 255 = void: a full mask, or a map of coarse labels; None where there is none or
            it must not be seen.
        segments_HW: Superpixel ids, int32, -1 = none; None where there are none.
        keypoints_HW: Classes of keypoints, uint8, 255 = none; None where there are none.
        proportions_C: Share of each class in the whole image, its void left out, float32 (the foreground's alone where
            there is one class to predict); None where they are not known.
        counted_HW: The mask that `proportions_C` was counted in, uint8, 255 = void, so that it can be counted anew for
            the part of the image that a crop leaves; None where proportions hold for the whole image only.

    Raises:
        ValueError: An array is of another type or shape or holds what that type cannot, a point lies outside the image,
            or proportions are no shares.
    """

    image_id: str
    image_HW3: npt.NDArray[np.uint8]
    points_N2: npt.NDArray[np.float32]
    labels_N: npt.NDArray[np.int64]
    mask_HW: npt.NDArray[np.uint8] | None = None
    segments_HW: npt.NDArray[np.int32] | None = None
    keypoints_HW: npt.NDArray[np.uint8] | None = None
    proportions_C: npt.NDArray[np.float32] | None = None
    counted_HW: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Refuse what training would misread, or fail at long after."""
        image, size = self.image_HW3, self.image_HW3.shape[:2]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"{self.image_id}: image must be uint8 RGB (H, W, 3), came {image.dtype} {image.shape}")
        points, labels = self.points_N2, self.labels_N
        if points.shape != (len(points), 2) or labels.shape != points.shape[:1] or labels.dtype.kind not in "iu":
            came = f"{points.shape} and {labels.dtype} {labels.shape}"
            raise ValueError(f"{self.image_id}: points must be (N, 2) and labels N integers, came {came}")
        inside_N = ((points >= -0.5) & (points < np.array(size) - 0.5)).all(axis=1)
        if not inside_N.all():
            y, x = points[np.argmin(inside_N)].tolist()
            raise ValueError(f"{self.image_id}: point y={y:g}, x={x:g} lies outside the image of {size[0]}x{size[1]}")
        for name in ("mask_HW", "segments_HW", "keypoints_HW", "counted_HW"):
            given = getattr(self, name)
            if given is not None and (given.shape != size or given.dtype.kind not in "iu"):
                raise ValueError(
                    f"{self.image_id}: {name} must be integers of the image's size {size}, "
                    f"came {given.dtype} {given.shape}"
                )
            low, high = (-1, 2**31 - 1) if name == "segments_HW" else (0, 255)
            if given is not None and given.size and not low <= given.min() <= given.max() <= high:
                raise ValueError(
                    f"{self.image_id}: {name} must be from {low} to {high}, came {given.min()} to {given.max()}"
                )
        if self.proportions_C is not None:
            self._check_proportions(self.proportions_C)

    def _check_proportions(self, shares_C: npt.NDArray[np.float32]) -> None:
        if shares_C.ndim != 1 or len(shares_C) == 0:
            raise ValueError(f"{self.image_id}: proportions must be (C,), came {shares_C.shape}")
        total = float(shares_C.sum())
        whole = abs(total - 1) <= SUM_TOLERANCE or (len(shares_C) == 1 and total <= 1)
        if not np.isnan(shares_C).all() and not (whole and (shares_C >= 0).all()):
            raise ValueError(
                f"{self.image_id}: proportions must be shares >= 0 that sum to 1 (of one class: from 0 to 1), or all "
                f"NaN, came {shares_C.tolist()}"
            )


class Examples(Protocol):
    """Examples by index."""

    @property
    def block_sizes(self) -> Sequence[int]:
        """How many consecutive examples are read together, in index order; they sum to the length."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> Example:
        """One example; IndexError past the end."""


class InMemory:
    """A list of examples: for plain PyTorch and for tests.

    Args:
        examples: The examples.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        """Keep the examples."""
        self._examples = list(examples)

    @property
    def block_sizes(self) -> Sequence[int]:
        """One block: everything is at hand."""
        return (len(self._examples),) if self._examples else ()

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        """One example."""
        return self._examples[index]


def from_records(
    records: Iterable[Record],
    *,
    points: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]] | None = None,
    segments: Mapping[str, npt.NDArray[np.int32]] | None = None,
    keypoints: Mapping[str, npt.NDArray[np.uint8]] | None = None,
    proportions: Mapping[str, npt.ArrayLike] | None = None,
    masks: bool | Literal["coarse"] = True,
) -> InMemory:
    """Decode records into examples.

    Args:
        records: What :func:`weakseg.datasets.records` gave.
        points: By image_id: labelled pixels (N, 2) as (y, x), and their classes (N,); other images have none.
        segments: By image_id: superpixel ids (H, W), as of :func:`weakseg.superpixels.slic`.
        keypoints: By image_id: classes of keypoints (H, W), 255 = none, as of
            :func:`weakseg.supervision.sample_keypoints`.
        proportions: By image_id: the share of each class (C,), which holds for the whole image only.
        masks: Whether the examples hold the records' masks, or "coarse", their coarse label maps.

    Returns:
        The examples in the order of the records.

    Raises:
        ValueError: As :class:`Example`, or something is given for none of the records.
    """
    if not (isinstance(masks, bool) or masks == "coarse"):
        raise ValueError(f"masks must be True, False or 'coarse', came {masks!r}")
    found = []
    for record in records:
        points_N2, labels_N = (points or {}).get(record.image_id, ((), ()))
        shares = (proportions or {}).get(record.image_id)
        found.append(
            Example(
                image_id=record.image_id,
                image_HW3=codec.decode_image(record.image),
                points_N2=np.asarray(points_N2, np.float32).reshape(-1, 2),
                labels_N=np.asarray(labels_N, np.int64).reshape(-1),
                mask_HW=record.coarse if masks == "coarse" else record.mask if masks else None,
                segments_HW=(segments or {}).get(record.image_id),
                keypoints_HW=(keypoints or {}).get(record.image_id),
                proportions_C=None if shares is None else np.asarray(shares, np.float32),
            )
        )
    known = dict.fromkeys(example.image_id for example in found)
    given = {"points": points, "segments": segments, "keypoints": keypoints, "proportions": proportions}
    for name, by_image in given.items():
        if by_image and known and known.keys().isdisjoint(by_image):
            raise ValueError(
                f"{name}: none of the {len(known)} records is meant: they are called such as {next(iter(known))!r}, "
                f"not {next(iter(by_image))!r}"
            )
    return InMemory(found)
