"""The images of the pool as a browser shows them, by number."""

import io
import threading
from collections import OrderedDict

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from pipelines.pool import PartReader, Pool
from weakseg import codec

KEPT = 32
"""Encoded images in memory."""

_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Pictures:
    """Reads images, one request at a time.

    Args:
        pool: The pool.
    """

    def __init__(self, pool: Pool) -> None:
        index = pool.index()
        self.image_ids: list[str] = index.image_ids.to_pylist()
        self.sizes = list(zip(index.heights.tolist(), index.widths.tolist(), strict=True))
        self.numbers = {image_id: number for number, image_id in enumerate(self.image_ids)}
        self._places = list(zip(index.part.tolist(), index.row.tolist(), strict=True))
        self._read = PartReader(pool, "images", "image", cache_bytes=64 * 2**20)
        self._segments = PartReader(pool, pool.superpixels, "segments", cache_bytes=2**24) if pool.segments else None
        self._kept: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, number: int) -> tuple[bytes, str]:
        """An image and its media type: its own bytes where every browser shows them right, else a PNG."""
        with self._lock:
            if number not in self._kept:
                data = self._read(*self._places[number])
                kind = next((name for magic, name in _TYPES.items() if data.startswith(magic)), None)
                if kind is None or not codec.is_plain(data):
                    data, kind = codec.encode_png(codec.decode_image(data)), "image/png"
                self._kept[number] = data, kind
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    def outline(self, number: int, segment: int) -> bytes:
        """A superpixel's border as a PNG that is transparent elsewhere: red, with white around it.

        Raises:
            LookupError: The pool has no superpixels.
        """
        if self._segments is None:
            raise LookupError("no superpixels")
        with self._lock:
            segments_HW = codec.decode_segments(self._segments(*self._places[number]))
        inside_HW = segments_HW == segment
        rgba_HW4 = np.zeros((*inside_HW.shape, 4), np.uint8)
        rgba_HW4[find_boundaries(inside_HW, mode="outer")] = (255, 255, 255, 255)
        rgba_HW4[find_boundaries(inside_HW, mode="inner")] = (255, 0, 0, 255)
        file = io.BytesIO()
        Image.fromarray(rgba_HW4).save(file, "PNG")
        return file.getvalue()
