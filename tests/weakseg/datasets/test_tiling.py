import io
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagefiles import saved
from layouts import picture
from PIL import Image

from weakseg import codec
from weakseg.datasets import Classes, Coarse, Source, records, resize_image, resize_mask, windows
from weakseg.errors import DataError, ImageError

SOURCE = Source("a", "train", "g", "images/a.png", "masks/a.png")
RGB = picture("tiling", 20, 30)
MASK = (np.arange(600).reshape(20, 30) // 7 % 3).astype(np.uint8)


CLASSES = Classes(("a", "b", "c"), ((1, 0, 0), (2, 0, 0), (3, 0, 0)))


@dataclass(frozen=True)
class OneImage:
    image: bytes
    mask: bytes | None
    name: str = "one"
    classes: Classes = CLASSES

    def sources(self):
        yield SOURCE

    def read(self, source):
        return self.image, self.mask

    def decode_mask(self, data):
        return codec.decode_mask(data, classes=self.classes)


def one(image=RGB, mask=MASK):
    return OneImage(codec.encode_png(image), None if mask is None else codec.encode_mask(mask))


class TestWindows:
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 15), st.integers(1, 15))
    @settings(deadline=None)
    def test_a_floor_grid_without_overlap(self, height, width, tall, wide):
        covered = np.zeros((height, width), int)
        origins = list(windows(height, width, (tall, wide)))
        for y, x in origins:
            assert covered[y : y + tall, x : x + wide].shape == (tall, wide)
            covered[y : y + tall, x : x + wide] += 1
        expected = np.zeros_like(covered)
        expected[: height // tall * tall, : width // wide * wide] = 1
        np.testing.assert_array_equal(covered, expected)
        assert origins == sorted(origins)

    def test_a_window_of_nothing(self):
        with pytest.raises(ValueError, match="at least 1x1"):
            list(windows(3, 3, (0, 2)))


class TestWhole:
    def test_original_bytes_are_kept_where_every_decoder_reads_them_alike(self):
        jpeg = saved(Image.fromarray(RGB), "JPEG")
        assert records(OneImage(jpeg, None), SOURCE)[0].image == jpeg
        assert records(OneImage(jpeg, None), SOURCE, size=(20, 30))[0].image == jpeg

    def test_what_is_not_plain_is_encoded_anew(self):
        for image in (Image.fromarray(RGB).convert("L"), Image.fromarray(RGB).convert("CMYK")):
            data = saved(image, "TIFF")
            (record,) = records(OneImage(data, None), SOURCE)
            assert Image.open(io.BytesIO(record.image)).format == "PNG"
            np.testing.assert_array_equal(codec.decode_image(record.image), codec.decode_image(data))

    def test_an_exif_rotation_is_applied_before_the_mask_is_compared(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = saved(Image.fromarray(np.ascontiguousarray(np.rot90(RGB))), exif=exif)
        (record,) = records(OneImage(data, codec.encode_mask(MASK)), SOURCE)
        np.testing.assert_array_equal(codec.decode_image(record.image), RGB)


class TestResize:
    def test_image_is_bilinear_and_antialiased_mask_is_nearest(self):
        (record,) = records(one(), SOURCE, size=(10, 15))
        np.testing.assert_array_equal(codec.decode_image(record.image), resize_image(RGB, (10, 15)))
        np.testing.assert_array_equal(record.mask, resize_mask(MASK, (10, 15)))
        assert (record.source_height, record.source_width, record.origin_y, record.origin_x) == (20, 30, 0, 0)

    def test_shrinking_averages(self):
        checker = np.zeros((40, 40, 3), np.uint8)
        checker[::2, ::2] = checker[1::2, 1::2] = 255
        assert np.abs(resize_image(checker, (10, 10)).astype(int) - 127).max() < 20

    @given(st.integers(1, 40), st.integers(1, 40))
    @settings(max_examples=20, deadline=None)
    def test_nearest_takes_the_pixel_under_the_centre(self, height, width):
        found = resize_mask(MASK, (height, width))
        assert found.shape == (height, width)
        for y, x in np.ndindex(height, width):
            centre_y, centre_x = Fraction(2 * y + 1, 2 * height) * 20, Fraction(2 * x + 1, 2 * width) * 30
            assert found[y, x] == MASK[int(centre_y), int(centre_x)]


class TestTiles:
    def test_windows_are_cut_from_image_and_mask_alike(self):
        found = records(one(), SOURCE, tile=(8, 9))
        assert [record.image_id for record in found] == [f"a@{y},{x}" for y in (0, 8) for x in (0, 9, 18)]
        for record in found:
            rows = slice(record.origin_y, record.origin_y + 8)
            columns = slice(record.origin_x, record.origin_x + 9)
            np.testing.assert_array_equal(codec.decode_image(record.image), RGB[rows, columns])
            np.testing.assert_array_equal(record.mask, MASK[rows, columns])
            assert (record.source, record.group, record.split) == ("images/a.png", "g", "train")

    def test_with_a_size_windows_are_cut_after_the_resize(self):
        found = records(one(), SOURCE, size=(40, 60), tile=(20, 30))
        assert len(found) == 4
        np.testing.assert_array_equal(codec.decode_image(found[3].image), resize_image(RGB, (40, 60))[20:, 30:])

    def test_an_image_smaller_than_the_window_is_quarantined(self):
        with pytest.raises(
            ImageError, match=r"images/a.png: 20x30 \(height x width\) is smaller than the window 21x10"
        ):
            records(one(), SOURCE, tile=(21, 10))

    def test_without_a_mask(self):
        assert {record.mask is None for record in records(one(mask=None), SOURCE, tile=(8, 9))} == {True}


@dataclass(frozen=True)
class OneCoarse(OneImage):
    coarse: bytes | None = None

    def read_coarse(self, source):
        return self.coarse


class TestCoarse:
    def test_it_is_made_at_the_original_size_and_then_resized_and_cut_as_the_mask(self):
        seen = []

        def every_other(mask_HW, *, erosion, tolerance):
            seen.append((mask_HW.shape, erosion, tolerance))
            return np.where(np.arange(mask_HW.shape[1]) % 2 == 1, np.uint8(255), mask_HW)

        made = every_other(MASK, erosion=0, tolerance=0)
        found = records(one(), SOURCE, size=(40, 60), tile=(20, 30), coarse=Coarse(erosion=3), coarsen=every_other)
        assert seen[1:] == [((20, 30), 3, 0.005)]
        np.testing.assert_array_equal(found[3].coarse, resize_mask(made, (40, 60))[20:, 30:])
        np.testing.assert_array_equal(found[3].mask, resize_mask(MASK, (40, 60))[20:, 30:])

    def test_the_layouts_own_is_decoded_as_masks_are(self):
        layout = OneCoarse(codec.encode_png(RGB), None, coarse=codec.encode_mask(255 - MASK // 2 * 253))
        (record,) = records(layout, SOURCE, coarse=Coarse("layout"))
        np.testing.assert_array_equal(record.coarse, 255 - MASK // 2 * 253)
        assert record.mask is None

    def test_none_where_it_is_not_asked_for_or_not_there(self):
        layout = OneCoarse(codec.encode_png(RGB), codec.encode_mask(MASK), coarse=codec.encode_mask(MASK))
        assert records(layout, SOURCE)[0].coarse is None
        assert records(OneCoarse(codec.encode_png(RGB), None), SOURCE, coarse=Coarse("layout"))[0].coarse is None
        untouched = Coarse(), lambda mask_HW, **_: mask_HW
        assert records(one(mask=None), SOURCE, coarse=untouched[0], coarsen=untouched[1])[0].coarse is None

    def test_faults(self):
        with pytest.raises(ValueError, match="coarse labels come from masks or layout, got 'mask'"):
            Coarse("mask")
        with pytest.raises(ValueError, match=r"need coarsen=weakseg.supervision.coarsen .*got None"):
            records(one(), SOURCE, coarse=Coarse())
        with pytest.raises(
            DataError, match="layout one has no coarse annotations of its own: make them from its masks"
        ):
            records(one(), SOURCE, coarse=Coarse("layout"))
        other = OneCoarse(codec.encode_png(RGB), None, coarse=codec.encode_mask(MASK[1:]))
        with pytest.raises(DataError, match=r"^images/a.png: its coarse annotation is 19x30 .* images/a.png is 20x30"):
            records(other, SOURCE, coarse=Coarse("layout"))
        broken = OneCoarse(codec.encode_png(RGB), None, coarse=codec.encode_mask(MASK)[:40])
        with pytest.raises(DataError, match=r"^images/a.png: its coarse annotation: .*put the file right") as raised:
            records(broken, SOURCE, coarse=Coarse("layout"))
        assert not isinstance(raised.value, ImageError)  # which would leave out the image
        unknown = OneCoarse(codec.encode_png(RGB), None, coarse=codec.encode_mask(MASK + 3))
        with pytest.raises(DataError, match=r"^images/a.png: its coarse annotation: class index 3 at y=0, x=0"):
            records(unknown, SOURCE, coarse=Coarse("layout"))


class TestBadInput:
    def test_a_mask_of_another_size(self):
        with pytest.raises(
            DataError, match=re.escape("masks/a.png: the mask is 19x30 (height x width), but its image")
        ) as e:
            records(one(mask=MASK[1:]), SOURCE)
        assert not isinstance(e.value, ImageError)
        assert "images/a.png is 20x30" in str(e.value)

    def test_an_index_outside_the_classes(self):
        with pytest.raises(DataError, match=r"^masks/a.png: class index 3 at y=0, x=0") as e:
            records(one(mask=MASK + 3), SOURCE)
        assert not isinstance(e.value, ImageError)

    def test_an_unknown_colour(self):
        data = saved(Image.fromarray(RGB * 0 + 9))
        with pytest.raises(DataError, match=r"^masks/a.png: colour #090909 at y=0, x=0"):
            records(OneImage(codec.encode_png(RGB), data), SOURCE)

    @pytest.mark.parametrize("data", [b"", b"text", codec.encode_png(RGB)[:200]])
    def test_files_that_cannot_be_decoded_are_for_quarantine(self, data):
        with pytest.raises(ImageError, match=r"^images/a.png: "):
            records(OneImage(data, codec.encode_mask(MASK)), SOURCE)
        with pytest.raises(ImageError, match=r"^masks/a.png: "):
            records(OneImage(codec.encode_png(RGB), data), SOURCE)
