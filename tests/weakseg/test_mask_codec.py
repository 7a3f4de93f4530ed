import io

import numpy as np
import pytest
from imagefiles import saved
from layouts import picture
from PIL import Image

from weakseg import codec
from weakseg.datasets import Classes
from weakseg.errors import DataError, ImageError

CLASSES = Classes(("soil", "roof", "crop"), ((10, 20, 30), (200, 0, 0), (0, 200, 0)), void_colors=((0, 0, 0),))
RGB = picture("mask", 9, 12)
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
        with pytest.raises(ImageError, match="not an image"):
            codec.decode_mask(b"nothing", classes=CLASSES)

    def test_by_color_alone(self):
        data = palette_image(np.array([[1, 0]], np.uint8), CLASSES.colors)
        np.testing.assert_array_equal(codec.decode_color_mask(data, classes=CLASSES), [[1, 0]])
        with pytest.raises(DataError, match="#010101"):
            codec.decode_color_mask(saved(Image.fromarray(np.ones((2, 2), np.uint8))), classes=CLASSES)


def test_a_palette_mask_holds_indices_and_shows_colours():
    mask = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    data = codec.encode_palette(mask, CLASSES.colors)
    np.testing.assert_array_equal(codec.read_mask(data), mask)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        shown = np.asarray(image.convert("RGB"))
    for index, color in enumerate(CLASSES.colors):
        assert (shown[mask == index] == color).all()
    # Read as anybody's mask: by its colours.
    no_void = np.array([[0, 1, 2]], np.uint8)
    np.testing.assert_array_equal(
        codec.decode_mask(codec.encode_palette(no_void, CLASSES.colors), classes=CLASSES), no_void
    )
    with pytest.raises(ValueError, match="uint8"):
        codec.encode_palette(mask.astype(np.int64), CLASSES.colors)
