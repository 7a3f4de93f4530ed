import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import picture
from PIL import Image

from weakseg import codec
from weakseg.datasets import Classes
from weakseg.errors import DataError, ImageError

CLASSES = Classes(("soil", "roof", "crop"), ((10, 20, 30), (200, 0, 0), (0, 200, 0)), void_colors=((0, 0, 0),))
RGB = picture("codec", 18, 26)


def saved(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(array, *, depth, color):
    """A PNG written by hand: Pillow writes no 16-bit RGB."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in array)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(array, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


class TestDecodeImage:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True}), ("BMP", {})],
    )
    def test_lossless_rgb_comes_back_as_it_was(self, kind, options):
        decoded = codec.decode_image(saved(Image.fromarray(RGB), kind, **options))
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, RGB)
        assert decoded.flags.writeable

    def test_jpeg_is_close(self):
        decoded = codec.decode_image(saved(Image.fromarray(RGB), "JPEG", quality=95, subsampling=0))
        assert np.abs(decoded.astype(int) - RGB).mean() < 3

    def test_grey_becomes_three_equal_channels(self):
        grey = RGB[..., 0]
        np.testing.assert_array_equal(codec.decode_image(saved(Image.fromarray(grey))), np.stack([grey] * 3, -1))

    def test_one_bit_becomes_black_and_white(self):
        bits = RGB[..., 0] > 128
        np.testing.assert_array_equal(codec.decode_image(saved(Image.fromarray(bits)))[..., 1], bits * 255)

    @pytest.mark.parametrize("channels", [2, 4])
    def test_transparency_is_composited_on_white(self, channels):
        alpha = np.full(RGB.shape[:2], 255, np.uint8)
        alpha[:5], alpha[5:9] = 0, 51
        color = RGB if channels == 4 else RGB[..., :1]
        decoded = codec.decode_image(saved(Image.fromarray(np.concatenate([color, alpha[..., None]], -1))))
        weight = alpha[..., None] / 255
        expected = np.broadcast_to(color * weight + 255 * (1 - weight), RGB.shape)
        assert np.abs(decoded - expected).max() <= 1
        assert (decoded[:5] == 255).all()

    def test_palette_and_its_transparency(self):
        image = Image.fromarray(RGB).quantize(16)
        expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(codec.decode_image(saved(image)), expected)
        decoded = codec.decode_image(saved(image, transparency=3))
        clear = np.asarray(image) == 3
        assert clear.any()
        assert (decoded[clear] == 255).all()
        np.testing.assert_array_equal(decoded[~clear], expected[~clear])

    def test_a_transparent_color_of_an_rgb_png(self):
        image = RGB.copy()
        image[:3] = (1, 2, 3)
        decoded = codec.decode_image(saved(Image.fromarray(image), transparency=(1, 2, 3)))
        assert (decoded[:3] == 255).all()
        np.testing.assert_array_equal(decoded[3:], RGB[3:])

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, kind):
        ink = np.zeros((16, 16, 4), np.uint8)
        ink[:, 8:, 1:3] = 255  # magenta and yellow: red
        decoded = codec.decode_image(saved(Image.fromarray(ink, "CMYK"), kind))
        assert np.abs(decoded[:, :6].astype(int) - 255).max() < 6
        assert np.abs(decoded[:, 10:].astype(int) - (255, 0, 0)).max() < 6

    def test_sixteen_bit_grey_is_scaled(self):
        values = np.array([[0, 128, 129, 257, 257 * 100, 257 * 100 + 128, 257 * 100 + 129, 65535]], np.uint16)
        expected = np.array([0, 0, 1, 1, 100, 100, 101, 255])  # the nearest of value / 257
        for data in (saved(Image.fromarray(values)), png(values, depth=16, color=0), tiff(values)):
            np.testing.assert_array_equal(codec.decode_image(data)[0], np.stack([expected] * 3, -1))

    @pytest.mark.parametrize("alpha", [False, True])
    def test_sixteen_bit_rgb_is_scaled(self, alpha):
        deep = RGB.astype(np.uint16) * 257
        if alpha:
            deep = np.concatenate([deep, np.full((*deep.shape[:2], 1), 65535, np.uint16)], -1)
        for data in (png(deep, depth=16, color=6 if alpha else 2), tiff(deep, photometric="rgb")):
            np.testing.assert_array_equal(codec.decode_image(data), RGB)

    def test_sixteen_bit_planes_are_refused_and_eight_bit_ones_are_not(self):
        planes = RGB.transpose(2, 0, 1)
        np.testing.assert_array_equal(codec.decode_image(tiff(planes, photometric="rgb", planarconfig="separate")), RGB)
        with pytest.raises(ImageError, match="16-bit TIFF with separate colour planes: save it"):
            codec.decode_image(tiff(planes.astype(np.uint16) * 257, photometric="rgb", planarconfig="separate"))

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_pixels_without_a_defined_white_are_refused(self, dtype):
        with pytest.raises(ImageError, match="32-bit.*convert"):
            codec.decode_image(tiff(RGB[..., 0].astype(dtype)))

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_rotation_is_undone(self, kind, orientation):
        # How a camera stores an upright image under each orientation: the inverse of what a viewer must do.
        stored = {
            1: lambda a: a,
            2: lambda a: a[:, ::-1],
            3: lambda a: a[::-1, ::-1],
            4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1),
            6: lambda a: np.rot90(a, 1),
            7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
            8: lambda a: np.rot90(a, -1),
        }[orientation](RGB)
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
        data = saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
        decoded = codec.decode_image(data)
        assert decoded.shape == RGB.shape
        assert codec.image_size(data) == RGB.shape[:2]
        assert np.abs(decoded.astype(int) - RGB).mean() < (3 if kind == "JPEG" else 1e-9)
        assert codec.is_plain(data) == (orientation == 1 and kind != "TIFF")

    def test_the_first_frame_is_taken(self):
        data = saved(
            Image.fromarray(RGB), "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - RGB)]
        )
        np.testing.assert_array_equal(codec.decode_image(data), RGB)
        assert not codec.is_plain(data)


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


class TestPlain:
    def test_only_what_every_decoder_reads_alike(self):
        image = Image.fromarray(RGB)
        assert codec.is_plain(saved(image))
        assert codec.is_plain(saved(image, "JPEG"))
        assert codec.is_plain(saved(image, "WEBP"))
        assert not codec.is_plain(saved(image, "TIFF"))
        assert not codec.is_plain(saved(image.convert("L")))
        assert not codec.is_plain(saved(image.convert("RGBA")))
        assert not codec.is_plain(saved(image.quantize(8)))
        assert not codec.is_plain(saved(image, transparency=(1, 2, 3)))
        assert not codec.is_plain(png(RGB.astype(np.uint16) * 257, depth=16, color=2))
        assert not codec.is_plain(saved(image.convert("CMYK"), "JPEG"))


class TestEncode:
    def test_round_trips(self):
        mask = RGB[..., 0]
        np.testing.assert_array_equal(codec.decode_image(codec.encode_png(RGB)), RGB)
        np.testing.assert_array_equal(codec.read_mask(codec.encode_mask(mask)), mask)
        np.testing.assert_array_equal(codec.read_mask(codec.encode_png(mask)), mask)

    @pytest.mark.parametrize("array", [RGB.astype(np.float32), RGB[..., :2], RGB[0, 0]])
    def test_other_arrays_are_refused(self, array):
        with pytest.raises(ValueError, match="expected uint8"):
            codec.encode_png(array)
        with pytest.raises(ValueError, match="expected a uint8"):
            codec.encode_mask(RGB)

    @given(st.integers(1, 65534), st.integers(1, 30), st.integers(1, 30))
    @settings(max_examples=30, deadline=None)
    def test_segments_round_trip(self, high, height, width):
        segments = np.random.default_rng(high).integers(0, high + 1, (height, width))
        decoded = codec.decode_segments(codec.encode_segments(segments))
        assert decoded.dtype == np.int32
        np.testing.assert_array_equal(decoded, segments)

    def test_the_most_segments(self):
        most = np.arange(65535).reshape(255, 257)
        np.testing.assert_array_equal(codec.decode_segments(codec.encode_segments(most)), most)
        with pytest.raises(ValueError, match="0 to 65535.*fewer segments"):
            codec.encode_segments(np.arange(65536).reshape(256, 256))
        with pytest.raises(ValueError, match="-1 to 3"):
            codec.encode_segments(np.array([[-1, 3]]))


MASK = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)


def palette_image(indices, colors):
    image = Image.fromarray(indices, "P")
    image.putpalette([part for color in colors for part in color])
    return saved(image)


class TestDecodeMask:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
    def test_indices(self, kind):
        decoded = codec.decode_mask(saved(Image.fromarray(MASK), kind), classes=CLASSES)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, MASK)

    def test_one_bit_and_sixteen_bit_indices(self):
        bits = MASK == 1
        np.testing.assert_array_equal(codec.decode_mask(saved(Image.fromarray(bits)), classes=CLASSES), bits)
        deep = codec.decode_mask(saved(Image.fromarray(MASK.astype(np.uint16))), classes=CLASSES)
        np.testing.assert_array_equal(deep, MASK)

    def test_an_index_outside_the_classes_is_named_with_its_place(self):
        with pytest.raises(
            DataError, match=r"class index 3 at y=1, x=2 is outside the 3 classes \(0 to 2, 255 = void\)"
        ):
            codec.decode_mask(saved(Image.fromarray(np.array([[0, 0, 1], [1, 255, 3]], np.uint8))), classes=CLASSES)
        with pytest.raises(DataError, match="class index 256"):
            codec.decode_mask(saved(Image.fromarray(np.array([[256]], np.uint16))), classes=CLASSES)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_colors(self, mode):
        table = np.zeros((256, 3), np.uint8)
        table[:3] = CLASSES.colors
        image = Image.fromarray(table[MASK]).convert(mode)
        np.testing.assert_array_equal(codec.decode_mask(saved(image), classes=CLASSES), MASK)

    def test_an_unknown_color_is_named(self):
        rgb = np.array([[(10, 20, 30), (200, 0, 0)], [(200, 1, 0), (0xAB, 0xC, 0xD)]], np.uint8)
        with pytest.raises(DataError, match=r"colour #C80100 at y=1, x=0 \(2 pixels are of no known colour\)"):
            codec.decode_mask(saved(Image.fromarray(rgb)), classes=CLASSES)

    def test_a_palette_of_the_classes_colors_is_read_by_color_whatever_its_order(self):
        data = palette_image(np.array([[2, 1, 0, 3]], np.uint8), [*reversed(CLASSES.colors), (0, 0, 0)])
        np.testing.assert_array_equal(codec.decode_mask(data, classes=CLASSES), [[0, 1, 2, 255]])

    def test_another_palette_is_read_by_index(self):
        data = palette_image(MASK, [(9, 9, 9), (8, 8, 8), (7, 7, 7), *[(6, 6, 6)] * 253])
        np.testing.assert_array_equal(codec.decode_mask(data, classes=CLASSES), MASK)

    def test_the_usual_palette_with_an_extra_color_for_void(self):
        data = palette_image(MASK, [*CLASSES.colors, *[(224, 224, 192)] * 253])
        np.testing.assert_array_equal(codec.decode_mask(data, classes=CLASSES), MASK)

    def test_a_palette_that_contradicts_the_classes_is_refused(self):
        data = palette_image(np.array([[2, 1, 0]], np.uint8), [*reversed(CLASSES.colors[1:]), (9, 9, 9)])
        with pytest.raises(DataError, match="index 0 is painted #00C800, which the classes give to 2, but index 2"):
            codec.decode_mask(data, classes=CLASSES)

    def test_an_unknown_palette_color_is_named(self):
        data = palette_image(np.array([[0, 3]], np.uint8), [*CLASSES.colors, (0xAA, 0xBB, 0xCC)])
        with pytest.raises(DataError, match="#AABBCC at y=0, x=1"):
            codec.decode_mask(data, classes=CLASSES)

    def test_black_and_white_is_not_guessed_at(self):
        binary = Classes(("ground", "cell"), ((0, 0, 0), (255, 255, 255)))
        data = saved(Image.fromarray(np.array([[0, 255]], np.uint8)))
        with pytest.raises(DataError, match="0 and 255.*would mean void"):
            codec.decode_mask(data, classes=binary)
        np.testing.assert_array_equal(codec.decode_mask(data, classes=CLASSES), [[0, 255]])

    def test_files_that_are_no_masks(self):
        with pytest.raises(DataError, match="this one is CMYK"):
            codec.decode_mask(saved(Image.fromarray(RGB).convert("CMYK"), "TIFF"), classes=CLASSES)
        with pytest.raises(DataError, match="expected a mask of 8-bit class indices, this one is RGB"):
            codec.read_mask(saved(Image.fromarray(RGB)))
        with pytest.raises(ImageError, match="not an image"):
            codec.decode_mask(b"nothing", classes=CLASSES)

    def test_by_color_alone(self):
        data = palette_image(np.array([[1, 0]], np.uint8), CLASSES.colors)
        np.testing.assert_array_equal(codec.decode_color_mask(data, classes=CLASSES), [[1, 0]])
        with pytest.raises(DataError, match="#010101"):
            codec.decode_color_mask(saved(Image.fromarray(np.ones((2, 2), np.uint8))), classes=CLASSES)
