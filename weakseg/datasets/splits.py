"""Dividing images into train, val and test without ever cutting through a group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg import seeding
from weakseg.datasets.layout import code, codes, position
from weakseg.errors import DataError

SPLITS = ("train", "val", "test")

DEFAULT_FRACTIONS = {"val": 0.15, "test": 0.15}
"""Where nobody says otherwise."""


@dataclass(frozen=True)
class Assignment:
    """The split of every group, in 9 bytes each.

    Args:
        codes: Sorted 64-bit codes of the groups, (N,).
        splits: Position in :data:`SPLITS`, (N,).
    """

    codes: npt.NDArray[np.uint64]
    splits: npt.NDArray[np.uint8]

    def __getitem__(self, group: str) -> str:
        """The split of a group; KeyError for a group that was not assigned."""
        found = self.get(group)
        if found is None:
            raise KeyError(group)
        return found

    def get(self, group: str) -> str | None:
        """The split of a group, None for a group that was not assigned."""
        found = position(self.codes, code(group))
        return None if found is None else SPLITS[self.splits[found]]

    def present(self) -> set[str]:
        """The splits that got at least one group."""
        return {SPLITS[number] for number in np.unique(self.splits)}


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Refuse fractions that leave nothing to train on.

    Raises:
        DataError: Another name than val and test, a fraction outside [0, 1), or a sum of 1 or more.
    """
    unknown = sorted(set(fractions) - {"val", "test"})
    if unknown:
        raise DataError(f"splits: fractions of val and test are expected, got {', '.join(unknown)} (train is the rest)")
    if any(not 0 <= value < 1 for value in fractions.values()) or sum(fractions.values()) >= 1:
        raise DataError(f"splits: fractions in [0, 1) that leave some images to train on, got {dict(fractions)}")


def assign_splits(groups: Iterable[str], fractions: Mapping[str, float], *, seed: int) -> Assignment:
    """Divide groups by a shuffle that depends on the seed and on which groups there are, not on their order.

    Test is filled first, then val; the rest is train. A group joins a split while it brings the split's
    share of the images nearer to its fraction; the first one always does.

    Args:
        groups: The group of every image, once per image, in any order.
        fractions: Share of the images for val and test.
        seed: Another seed is another division.

    Returns:
        The split of each group.

    Raises:
        DataError: Faulty fractions, or fewer groups than splits to fill.
    """
    check_fractions(fractions)
    held, sizes = np.unique(codes(groups), return_counts=True)
    wanted = [split for split in ("test", "val") if fractions.get(split, 0) > 0]
    if len(held) <= len(wanted):
        raise DataError(
            f"{len(held)} groups cannot be divided into {len(wanted) + 1} splits (a group, such as a sub-folder of "
            f"images/, stays whole): have more groups, or set the fraction of {' and '.join(wanted)} to 0"
        )
    order = seeding.generator(seed, "splits").permutation(len(held))
    running = np.cumsum(sizes[order])
    splits = np.zeros(len(held), np.uint8)
    start = 0
    for number, split in enumerate(wanted):
        target = fractions[split] * float(running[-1])
        before = float(running[start - 1]) if start else 0.0
        # Nearer with a group than without: its middle lies below the target.
        middles = running[start:] - before - sizes[order][start:] / 2
        count = int(np.searchsorted(middles, target, side="right"))
        still_needed = len(wanted) - number  # one group for each further split, and one for train
        count = min(max(count, 1), len(held) - start - still_needed)
        splits[order[start : start + count]] = SPLITS.index(split)
        start += count
    return Assignment(held, splits)
