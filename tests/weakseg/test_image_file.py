import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagefiles import png, saved
from layouts import picture
from PIL import Image

from weakseg import codec
from weakseg.errors import ImageError

RGB = picture("file", 18, 26)


class TestBadImages:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "0 bytes"),
            (b"hello, I am a text file", "not an image"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
            (b"\x89PNG\r\n\x1a\n", "not an image|cut short"),
        ],
    )
    def test_reason(self, data, reason):
        with pytest.raises(ImageError, match=reason):
            codec.decode_image(data)
        with pytest.raises(ImageError, match=reason):
            codec.image_size(data)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
    def test_truncated(self, kind):
        data = saved(Image.fromarray(np.tile(RGB, (4, 4, 1))), kind)
        with pytest.raises(ImageError, match="cut short|not an image"):
            codec.decode_image(data[: len(data) // 2])

    def test_a_huge_image_is_refused_before_it_is_decoded(self):
        bomb = png(np.zeros((1, 1), np.uint8), depth=8, color=0)
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
        bomb = bomb[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + bomb[33:]
        with pytest.raises(ImageError, match="decompression bomb"):
            codec.decode_image(bomb)

    def test_own_limit(self):
        data = saved(Image.fromarray(RGB))
        assert codec.decode_image(data, max_pixels=18 * 26).shape == (18, 26, 3)
        with pytest.raises(ImageError, match="26 x 18 pixels are more than the 467 allowed"):
            codec.decode_image(data, max_pixels=18 * 26 - 1)

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_damage_is_an_image_error_or_harmless(self, data):
        kind = data.draw(st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]))
        bad = bytearray(saved(Image.fromarray(RGB), kind))
        for _ in range(data.draw(st.integers(1, 4))):
            bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
        bad = bytes(bad[: data.draw(st.integers(0, len(bad)))])
        with contextlib.suppress(ImageError):  # anything else fails the test
            assert codec.decode_image(bad, max_pixels=10**6).ndim == 3
