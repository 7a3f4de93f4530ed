import io

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from imagefiles import png, saved
from layouts import picture
from PIL import Image

from weakseg import codec
from weakseg.errors import DataError, ImageError

RGB = picture("codec", 18, 26)


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

    def test_white_may_be_zero(self):
        values = np.array([[0, 100 * 257, 65535]], np.uint16)
        for depth in (values, (values // 257).astype(np.uint8)):
            decoded = codec.decode_image(tiff(depth, photometric="miniswhite"))
            np.testing.assert_array_equal(decoded[0, :, 0], [255, 155, 0])

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

    @pytest.mark.parametrize("orientation", [0, 9, 77])
    def test_an_orientation_that_does_not_exist_is_no_rotation(self, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(RGB), exif=exif)
        np.testing.assert_array_equal(codec.decode_image(data), RGB)
        assert codec.image_size(data) == RGB.shape[:2]

    def test_the_first_frame_is_taken(self):
        data = saved(
            Image.fromarray(RGB), "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - RGB)]
        )
        np.testing.assert_array_equal(codec.decode_image(data), RGB)
        assert not codec.is_plain(data)


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


class TestReadMask:
    def test_files_that_are_no_masks(self):
        with pytest.raises(DataError, match="expected a mask of 8-bit class indices, this one is RGB"):
            codec.read_mask(saved(Image.fromarray(RGB)))
