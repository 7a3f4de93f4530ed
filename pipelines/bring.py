"""What each image brings beside its labelled points: masks, coarse labels, proportions, keypoints, labelled segments.

Training reads examples; this module completes them. It travels to the workers once, through the object store.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from weakseg import seeding
from weakseg.datasets import Example
from weakseg.schema import VOID
from weakseg.supervision import (
    RegionIndex,
    keypoints_from_points,
    paint,
    sample_keypoints,
    spread_labels,
)


class Maps(Protocol):
    """Label maps by image."""

    def find(self, image_id: str) -> NDArray[np.uint8] | None:
        """Class indices, uint8 (H, W), 255 = none; None where the image has no map."""


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of the images that bring some.

    Args:
        masks: Where they are sampled from; None = they are the labelled points.
        per_class: How many of each class that occurs, from masks.
        radius: Radius of their discs in pixels.
        seed: Of the draw.
        images: (N,) which images bring them; None = all.
    """

    masks: Maps | None
    per_class: int
    radius: int
    seed: int
    images: NDArray[np.bool_] | None = None

    def __call__(self, index: int, example: Example) -> NDArray[np.uint8] | None:
        """The keypoints of an image as a map of classes, 255 elsewhere."""
        if not _brings(self.images, index):
            return None
        if self.masks is None:
            height, width = example.image_HW3.shape[:2]
            if not (example.labels_N != VOID).any():
                return None
            return keypoints_from_points(example.points_N2, example.labels_N, (height, width), radius=self.radius)
        mask_HW = self.masks.find(example.image_id)
        if mask_HW is None:
            return None
        rng = seeding.generator(self.seed, "keypoints", image_id=example.image_id)
        return sample_keypoints(mask_HW, self.per_class, radius=self.radius, rng=rng)


@dataclass(frozen=True)
class Proportions:
    """Proportions of the images that bring some.

    Args:
        table_NC: float32, a row of NaN for an image without.
        masks: Where they were counted and can be counted anew for what a crop leaves; None = they hold as they are.
    """

    table_NC: NDArray[np.float32]
    masks: Maps | None = None

    def __call__(self, index: int, example: Example) -> tuple[NDArray[np.float32] | None, NDArray[np.uint8] | None]:
        """The proportions of an image, and the mask to count them in anew."""
        row_C = self.table_NC[index]
        if np.isnan(row_C).any():
            return None, None
        return row_C, None if self.masks is None else self.masks.find(example.image_id)


@dataclass(frozen=True)
class Bring:
    """Completes the examples of a split, by their index in it.

    A full mask stands alone. Else dense labels are the coarse ones, then answers about whole segments, then points
    spread over their segment: a later kind only fills pixels that have no label yet.

    Args:
        masks: Full masks; None = no supervision.
        mask_images: (N,) which images bring their mask; None = all that have one.
        coarse: Coarse labels.
        coarse_images: (N,) which images bring them; None = all that have some.
        regions: Answers about segments.
        spread: Whether a labelled point's class holds for its segment.
        proportions: Class proportions.
        keypoints: Keypoints.
    """

    masks: Maps | None = None
    mask_images: NDArray[np.bool_] | None = None
    coarse: Maps | None = None
    coarse_images: NDArray[np.bool_] | None = None
    regions: RegionIndex | None = None
    spread: bool = False
    proportions: Proportions | None = None
    keypoints: Keypoints | None = None

    def __call__(self, index: int, example: Example) -> Example:
        """The example with everything its image brings."""
        proportions_C, counted_HW = (None, None) if self.proportions is None else self.proportions(index, example)
        return replace(
            example,
            mask_HW=self._labels(index, example),
            keypoints_HW=None if self.keypoints is None else self.keypoints(index, example),
            proportions_C=proportions_C,
            counted_HW=counted_HW,
        )

    def dense(self, image_ids: Iterable[pa.StringScalar]) -> Iterator[NDArray[np.uint8]]:
        """The full masks and coarse labels that the images bring, in their order."""
        for index, image_id in enumerate(image_ids):
            labels_HW = self._mask(index, image_id.as_py())
            if labels_HW is None:
                labels_HW = self._coarse(index, image_id.as_py())
            if labels_HW is not None:
                yield labels_HW

    def _mask(self, index: int, image_id: str) -> NDArray[np.uint8] | None:
        return None if self.masks is None or not _brings(self.mask_images, index) else self.masks.find(image_id)

    def _coarse(self, index: int, image_id: str) -> NDArray[np.uint8] | None:
        return None if self.coarse is None or not _brings(self.coarse_images, index) else self.coarse.find(image_id)

    def _labels(self, index: int, example: Example) -> NDArray[np.uint8] | None:
        mask_HW = self._mask(index, example.image_id)
        if mask_HW is not None:
            return mask_HW
        labels_HW = self._coarse(index, example.image_id)
        if example.segments_HW is not None and self.regions is not None:
            segments_N, class_N = self.regions.regions(index)
            labels_HW = _filled(labels_HW, paint(example.segments_HW, segments_N, class_N))
        if example.segments_HW is not None and self.spread:
            spread_HW = spread_labels(example.points_N2, example.labels_N, example.segments_HW)
            labels_HW = _filled(labels_HW, spread_HW)
        return labels_HW


def _filled(labels_HW: NDArray[np.uint8] | None, more_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels, and where there are none those of another map."""
    return more_HW if labels_HW is None else np.where(labels_HW == VOID, more_HW, labels_HW)


def _brings(images: NDArray[np.bool_] | None, index: int) -> bool:
    return images is None or bool(images[index])
