"""Images and outlines as a browser gets them."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.annotation import pictures
from pipelines.annotation.pictures import Pictures
from pipelines.pool import PoolIndex
from weakseg import codec

RED, WHITE = (255, 0, 0, 255), (255, 255, 255, 255)
IMAGE_HW3 = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def file(form: str, image_HW3: np.ndarray = IMAGE_HW3, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, form, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return file("JPEG", exif=exif)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is read of pools whose tables are lists of files: the table, the part and the row."""
    found: list[tuple[str, int, int]] = []

    class Reader:
        def __init__(self, pool: Any, table: str, column: str, **_: Any) -> None:
            assert (table, column) in (("images", "image"), (pool.superpixels, "segments"))
            self.pool, self.table = pool, table

        def __call__(self, part: int, row: int) -> bytes:
            found.append((self.table, part, row))
            return self.pool.tables[self.table][2 * part + row]

    monkeypatch.setattr(pictures, "PartReader", Reader)
    return found


def opened(*images: bytes, segments: list[bytes] | None = None) -> Pictures:
    """Pictures of a pool of two images per part."""
    numbers = np.arange(len(images), dtype=np.int32)
    ids = pa.array([f"train/{number}" for number in numbers])
    index = PoolIndex(ids, np.full_like(numbers, 5), np.full_like(numbers, 7), numbers // 2, numbers % 2)
    tables = {"images": list(images), "superpixels-4": segments}
    pool = SimpleNamespace(
        index=lambda: index, segments=4 if segments else 0, superpixels="superpixels-4", tables=tables
    )
    return Pictures(pool)  # type: ignore[arg-type]


@pytest.mark.parametrize(("form", "media"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_what_every_browser_shows_is_sent_as_it_is(reads: list[tuple[str, int, int]], form: str, media: str):
    data = file(form)
    assert opened(data)(0) == (data, media)


@pytest.mark.parametrize(
    "data",
    [
        file("WEBP", lossless=True),
        turned(),
        file("JPEG", IMAGE_HW3[..., 0]),
        file("PNG", IMAGE_HW3[..., 0]),
        file("BMP"),
    ],
    ids=["webp", "turned", "grey jpeg", "grey png", "bmp"],
)
def test_anything_else_becomes_an_upright_png(reads: list[tuple[str, int, int]], data: bytes):
    sent, media = opened(data)(0)
    assert media == "image/png"
    with Image.open(io.BytesIO(sent)) as image:
        assert (image.format, image.mode, image.getexif()) == ("PNG", "RGB", {})
        np.testing.assert_array_equal(np.asarray(image), codec.decode_image(data))


def test_images_have_the_numbers_of_the_pools_order(reads: list[tuple[str, int, int]]):
    files = [file("PNG", np.full((5, 7, 3), number, np.uint8)) for number in range(3)]
    made = opened(*files)
    assert made.image_ids == ["train/0", "train/1", "train/2"]
    assert made.numbers == {"train/0": 0, "train/1": 1, "train/2": 2}
    assert made.sizes == [(5, 7)] * 3
    assert [made(number)[0] for number in (2, 0, 1)] == [files[2], files[0], files[1]]
    assert reads == [("images", 1, 0), ("images", 0, 0), ("images", 0, 1)]


def test_the_images_that_were_asked_for_last_are_kept(
    reads: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pictures, "KEPT", 2)
    made = opened(*[file("PNG")] * 3)
    for number in (0, 1, 0, 2, 0):  # the third puts out the second, which was not asked for as lately as the first
        made(number)
    assert [2 * part + row for _, part, row in reads] == [0, 1, 2]
    made(1)
    assert len(reads) == 4


def test_a_superpixel_is_outlined_in_red_with_white_around_it(reads: list[tuple[str, int, int]]):
    segments_HW = np.zeros((7, 7), np.int32)
    segments_HW[2:5, 2:5] = 3
    made = opened(
        *[file("PNG")] * 2, segments=[codec.encode_segments(map_HW) for map_HW in (0 * segments_HW, segments_HW)]
    )
    drawing = """
        . . . . . . .
        . . W W W . .
        . W R R R W .
        . W R . R W .
        . W R R R W .
        . . W W W . .
        . . . . . . .
    """
    expected_HW4 = np.array(
        [[{"R": RED, "W": WHITE, ".": (0, 0, 0, 0)}[c] for c in line.split()] for line in drawing.split("\n")[1:-1]]
    )
    with Image.open(io.BytesIO(made.outline(1, 3))) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), expected_HW4)
    assert reads == [("superpixels-4", 0, 1)]


def test_no_superpixels_no_outline(reads: list[tuple[str, int, int]]):
    with pytest.raises(LookupError, match="no superpixels"):
        opened(file("PNG")).outline(0, 0)
