"""From examples to batches: augmentation, collation and loader processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from weakseg import seeding
from weakseg.errors import DataError
from weakseg.schema import VOID
from weakseg.training import sampler
from weakseg.transforms import IMAGENET_MEAN, Augmentation, Sample, augment

if TYPE_CHECKING:
    from weakseg.datasets.examples import Example, Examples

Fill = tuple[float, float, float]


@dataclass(frozen=True)
class Batch:
    """Samples of one step on one rank, padded on the right and below to the largest of them.

    Args:
        image_B3HW: float32 RGB in 0..1.
        points_N3: float32 (b, y, x) of all labelled points, b being the index in the batch.
        labels_N: int64 class of each.
        mask_BHW: uint8, 255 = void, padding or an image without a mask; None where no image has one.
        segments_BHW: int32, -1 = padding or an image without segments; None where no image has them.
        keypoints_BHW: uint8, 255 = none, padding or an image without keypoints; None where no image has them.
        proportions_BC: float32, a row of NaN for an image without proportions; None where no image has them.
        content_B4: int64, top, left, bottom, right (exclusive) of what is image and not padding.
        weight_B: float32, 0 for a repeat that only fills the batch up: no loss may count it.
    """

    image_B3HW: Tensor
    points_N3: Tensor
    labels_N: Tensor
    mask_BHW: Tensor | None
    segments_BHW: Tensor | None
    keypoints_BHW: Tensor | None
    proportions_BC: Tensor | None
    content_B4: Tensor
    weight_B: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the batch's images."""
        return self.image_B3HW.shape[2], self.image_B3HW.shape[3]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return self._each(lambda value: value.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which copies to a GPU need not be waited for."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: None if value is None else change(value) for name, value in values.items()}
        return Batch(**changed)


def collate(samples: Sequence[Sample], weights: Sequence[float], *, fill: Fill = IMAGENET_MEAN) -> Batch:
    """Put samples into one batch.

    Args:
        samples: At least one, of any sizes.
        weights: 1 for a visit, 0 for a repeat, one per sample.
        fill: RGB of padding in 0..1.

    Returns:
        The batch.
    """
    height = max(sample.image_3HW.shape[1] for sample in samples)
    width = max(sample.image_3HW.shape[2] for sample in samples)
    image_B3HW = torch.empty(len(samples), 3, height, width)
    image_B3HW[:] = torch.tensor(fill).reshape(3, 1, 1)
    for image_3HW, sample in zip(image_B3HW, samples, strict=True):
        image_3HW[:, : sample.image_3HW.shape[1], : sample.image_3HW.shape[2]] = sample.image_3HW
    points = [functional.pad(sample.points_N2, (1, 0), value=float(b)) for b, sample in enumerate(samples)]
    return Batch(
        image_B3HW,
        torch.cat(points),
        torch.cat([sample.labels_N for sample in samples]),
        _stack([sample.mask_HW for sample in samples], (height, width), torch.uint8, VOID),
        _stack([sample.segments_HW for sample in samples], (height, width), torch.int32, -1),
        _stack([sample.keypoints_HW for sample in samples], (height, width), torch.uint8, VOID),
        _rows([sample.proportions_C for sample in samples]),
        torch.tensor([sample.content for sample in samples]),
        torch.tensor(weights, dtype=torch.float32),
    )


def plain_batch(
    examples: "Examples", indices: Iterable[int], *, classes: int | None = None, fill: Fill = IMAGENET_MEAN
) -> Batch:
    """Put examples into one batch as they are.

    Args:
        examples: The examples.
        indices: Which of them, at least one.
        classes: How many the model has, None = labels are not checked.
        fill: RGB of padding in 0..1.

    Returns:
        The batch.

    Raises:
        DataError: An example has a label that is no class.
    """
    with _one_thread():
        chosen = [_checked(examples[index], classes) for index in indices]
        samples = [augment(example, None, rng=torch.Generator(), fill=fill) for example in chosen]
    return collate(samples, [1.0] * len(samples), fill=fill)


def _stack(maps: Sequence[Tensor | None], size: tuple[int, int], dtype: torch.dtype, fill: int) -> Tensor | None:
    """One map per sample, padded; None if no sample has one."""
    if all(map_HW is None for map_HW in maps):
        return None
    stack = torch.full((len(maps), *size), fill, dtype=dtype)
    for row_HW, map_HW in zip(stack, maps, strict=True):
        if map_HW is not None:
            row_HW[: map_HW.shape[0], : map_HW.shape[1]] = map_HW
    return stack


def _rows(rows: Sequence[Tensor | None]) -> Tensor | None:
    """One row per sample, NaN where it has none; None if no sample has one."""
    length = next((len(row) for row in rows if row is not None), None)
    if length is None:
        return None
    return torch.stack([torch.full((length,), torch.nan) if row is None else row.float() for row in rows])


def loader(
    examples: "Examples",
    *,
    augmentation: Augmentation | None,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    skip: int = 0,
    workers: int = 0,
    classes: int | None = None,
    fill: Fill = IMAGENET_MEAN,
    pin_memory: bool = False,
) -> Iterable[Batch]:
    """One rank's batches of one epoch, in order.

    An image is augmented by a generator of its own, fixed by seed, epoch and image_id, on one thread: the batches are
    the same for any number of ranks, loader processes and threads.

    Args:
        examples: The images and their labels.
        augmentation: What to change, None = nothing.
        batch_size: Images per step over all ranks.
        seed: Fixes order and augmentation, together with the epoch.
        epoch: Number of finished epochs.
        rank: This rank.
        world: Number of ranks.
        skip: How many of the first steps are left out.
        workers: Loader processes of this rank; 0 = load between the steps.
        classes: How many the model has; an example with another label is then a DataError. None = not checked.
        fill: RGB of padding in 0..1.
        pin_memory: Whether batches go on to a GPU.

    Returns:
        The batches; its length is the number of steps.

    Raises:
        ValueError: The block sizes do not add up to the examples, or the batch size cannot be shared by the ranks.
    """
    if sum(examples.block_sizes) != len(examples):
        raise ValueError(
            f"expected block_sizes to sum to the number of examples, {len(examples)}, got {sum(examples.block_sizes)}"
        )
    order = sampler.epoch_order(examples.block_sizes, seed=seed, epoch=epoch)
    batches = sampler.rank_batches(order, batch_size=batch_size, rank=rank, world=world)
    keys = [list(zip(indices.tolist(), weights.tolist(), strict=True)) for indices, weights in batches[skip:]]
    return DataLoader(
        _Augmented(examples, augmentation, seed, epoch, classes, fill),
        batch_sampler=keys,
        collate_fn=partial(_collate_pairs, fill=fill),
        num_workers=workers,
        pin_memory=pin_memory,
        # its own generator: a DataLoader draws a seed for its workers, by default from the global one
        generator=torch.Generator(),
    )


class _Augmented(Dataset[tuple[Sample, float]]):
    """Augmented samples by (index, weight)."""

    def __init__(
        self,
        examples: "Examples",
        augmentation: Augmentation | None,
        seed: int,
        epoch: int,
        classes: int | None,
        fill: Fill,
    ) -> None:
        self._examples = examples
        self._augmentation = augmentation
        self._seed = seed
        self._epoch = epoch
        self._classes = classes
        self._fill = fill

    def __getitem__(self, key: tuple[int, float]) -> tuple[Sample, float]:
        index, weight = key
        example = _checked(self._examples[index], self._classes)
        rng = seeding.torch_generator(self._seed, "augment", round=self._epoch, image_id=example.image_id)
        return augment(example, self._augmentation, rng=rng, fill=self._fill), weight

    def __getitems__(self, keys: list[tuple[int, float]]) -> list[tuple[Sample, float]]:
        """A whole batch at once: the DataLoader calls this where it is there."""
        with _one_thread():
            return [self[key] for key in keys]


def _checked(example: "Example", classes: int | None) -> "Example":
    """The example, refused if it has a label that a model of so many classes cannot learn."""
    if classes is None:
        return example
    for name in ("labels_N", "mask_HW", "keypoints_HW", "counted_HW"):
        labels = getattr(example, name)
        if labels is None or labels.size == 0:
            continue
        known = np.where(labels == VOID, 0, labels)  # one channel tells two classes apart
        wrong = int(known.max()) if known.min() >= 0 else int(known.min())
        if not 0 <= wrong < max(2, classes):
            raise DataError(
                f"{example.image_id}: {name} holds class {wrong}, but the model has classes 0 to {max(2, classes) - 1} "
                f"({VOID} is void): put the label right, or build the model with more classes"
            )
    shares_C = example.proportions_C
    if shares_C is not None and len(shares_C) != classes:
        raise DataError(f"{example.image_id}: expected proportions of {classes} class(es), came {len(shares_C)}")
    return example


def _collate_pairs(pairs: list[tuple[Sample, float]], *, fill: Fill) -> Batch:
    """Collate what the data set gave."""
    return collate([sample for sample, _ in pairs], [weight for _, weight in pairs], fill=fill)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over an image are rounded differently on several threads; small images gain nothing from them."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def has_label(examples: "Examples", terms: Iterable[str]) -> bool:
    """Whether any example has a label that one of the loss terms reads; stops at the first that has.

    Args:
        examples: The examples.
        terms: Names of loss terms. Those that read no label (consistency, assignment) do not count.

    Returns:
        False only if all examples were seen and none has one.
    """
    wanted = [_LABELS[term] for term in terms if term in _LABELS]
    return any(any(label(examples[index]) for label in wanted) for index in range(len(examples)))


def _some(labels: np.ndarray | None) -> bool:
    return labels is not None and bool(np.any(labels != VOID))


_LABELS: dict[str, Callable[["Example"], bool]] = {
    "point": lambda example: _some(example.labels_N),
    "mask": lambda example: _some(example.mask_HW),
    "keypoint": lambda example: _some(example.keypoints_HW),
    "proportion": lambda example: example.proportions_C is not None and not bool(np.isnan(example.proportions_C).all()),
}
"""Whether an example has what a term reads."""
