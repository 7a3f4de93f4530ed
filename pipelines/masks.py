"""The only door to masks: for the oracle, for scores, and for training where masks are paid for.

`tests/test_layering.py` holds which modules may come through it.
"""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.ledger.layout import part_key
from pipelines.pool import Pool
from weakseg import codec
from weakseg.datasets.layout import code
from weakseg.errors import DataError

CACHE_BYTES = 64 * 2**20


class MaskReader:
    """The masks of a pool, by image or by part.

    Args:
        pool: The pool.
        cache_bytes: Encoded masks kept in memory.
    """

    def __init__(self, pool: Pool, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Name the pool; nothing is read yet."""
        self._pool, self._cache_bytes = pool, cache_bytes
        self._parts: OrderedDict[int, tuple[dict[str, int], pa.Array]] = OrderedDict()
        self._codes: tuple[NDArray[np.uint64], NDArray[np.int32]] | None = None

    def __reduce__(self) -> tuple[type["MaskReader"], tuple[Pool]]:
        """Travel without what was read."""
        return MaskReader, (self._pool,)

    def count(self, split: str) -> int:
        """How many images of a split have a mask."""
        return int(self._pool.manifest["masks"].get(split, 0))

    def available(self, split: str) -> bool:
        """Whether at least one image of a split has a mask."""
        return self.count(split) > 0

    def mask(self, image_id: str) -> NDArray[np.uint8]:
        """The mask of an image.

        Returns:
            Class indices, uint8 (H, W), 255 = void.

        Raises:
            DataError: The image has no mask.
            KeyError: There is no such image in the pool.
        """
        mask_HW = self.find(image_id)
        if mask_HW is None:
            raise DataError(f"image {image_id} has no mask; add one to the data folder")
        return mask_HW

    def find(self, image_id: str) -> NDArray[np.uint8] | None:
        """The mask of an image, or None where it has none; KeyError where there is no such image."""
        # Images are asked for in the pool's order nearly always: then the last part read is the right one.
        for part in reversed(self._parts):
            if image_id in self._parts[part][0]:
                break
        else:
            part = self._part_of(image_id)
        rows, masks = self._read(part)
        return codec.read_mask(masks[rows[image_id]].as_py()) if image_id in rows else None

    def part(self, part: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """The masks of one part, as (image_id, mask), in the pool's order; images without one are left out."""
        rows, masks = self._read(part)
        for image_id, row in rows.items():
            yield image_id, codec.read_mask(masks[row].as_py())

    def _read(self, part: int) -> tuple[dict[str, int], pa.Array]:
        if part in self._parts:
            self._parts.move_to_end(part)
            return self._parts[part]
        try:
            table = self._pool.storage.read_table(part_key(self._pool.digest, "masks", part))
            rows = {image_id: row for row, image_id in enumerate(table["image_id"].to_pylist())}
            self._parts[part] = rows, table["mask"].combine_chunks()
        except FileNotFoundError:
            self._parts[part] = {}, pa.array([], pa.binary())
        while len(self._parts) > 1 and sum(masks.nbytes for _, masks in self._parts.values()) > self._cache_bytes:
            self._parts.popitem(last=False)
        return self._parts[part]

    def _part_of(self, image_id: str) -> int:
        """The part of an image, from 12 bytes per image."""
        if self._codes is None:
            index = self._pool.index()
            codes = np.fromiter((code(value.as_py()) for value in index.image_ids), np.uint64, len(index))
            order = np.argsort(codes)
            self._codes = codes[order], index.part[order]
        codes, parts = self._codes
        position = int(np.searchsorted(codes, np.uint64(code(image_id))))
        if position == len(codes) or codes[position] != code(image_id):
            raise KeyError(image_id)
        return int(parts[position])
