from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from weakseg.inference import logits
from weakseg.models import Output, build_model
from weakseg.tiled import _batch_size, bands, default_overlap, is_larger, spans


class Net(nn.Module):
    """Convolutions with a receptive field of `radius` pixels to each side, at stride 2 in between."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 5, 2, stride=2),
            *(nn.Conv2d(5, 5, 3, padding=1) for _ in range(radius // 2 - 1)),
            nn.ConvTranspose2d(5, 4, 2, stride=2),
        )

    def forward(self, image_B3HW: torch.Tensor) -> Output:
        height, width = image_B3HW.shape[-2:]
        padded = nn.functional.pad(image_B3HW, (0, width % 2, 0, height % 2))
        return Output(self.layers(padded), None, (padded.shape[-2], padded.shape[-1]))


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, image_B3HW: torch.Tensor) -> Output:
        batch, _, height, width = image_B3HW.shape
        values = torch.tensor([0.3, -7.1, 2.5]).view(1, 3, 1, 1)
        return Output(values.expand(batch, 3, height, width).clone(), None, (height, width))


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def whole(model: nn.Module, picture: np.ndarray) -> torch.Tensor:
    return next(logits(model, [picture]))


def joined(model: nn.Module, picture: np.ndarray, **options) -> torch.Tensor:
    found = list(bands(model, picture, **options))
    assert [y for y, _ in found] == np.cumsum([0, *[band.shape[1] for _, band in found[:-1]]]).tolist()
    return torch.cat([band for _, band in found], dim=1)


@given(st.integers(1, 700), st.integers(1, 200), st.data())
def test_windows_cover_the_axis_and_their_weights_sum_to_one(length: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    found = spans(length, window, overlap)
    total = np.zeros(length)
    for span in found:
        assert 0 <= span.start < span.stop <= length
        assert span.weight.shape == (span.stop - span.start,)
        assert (span.weight >= 0).all()
        total[span.start : span.stop] += span.weight
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert found[0].start == 0
    assert found[-1].stop == length
    for above, below in pairwise(found):
        assert above.start < below.start
        assert above.stop - below.start >= overlap
        assert above.stop - above.start == window
    assert found[-1].stop - found[-1].start < window + 32


def test_windows_begin_on_the_encoders_grid() -> None:
    assert all(span.start % 32 == 0 for span in spans(1000, 256, 64))
    assert [(span.start, span.stop) for span in spans(100, 128, 32)] == [(0, 100)]
    # A window too small for the grid of 32 takes the largest that fits into its step.
    assert [(span.start, span.stop) for span in spans(29, 12, 4)] == [(0, 12), (8, 20), (16, 29)]


@pytest.mark.parametrize(("size", "overlap"), [((150, 230), 64), ((129, 128), 64), ((128, 300), 48), ((333, 97), 32)])
def test_equals_the_whole_image_where_the_receptive_field_lies_in_the_dropped_quarter(
    size: tuple[int, int], overlap: int
) -> None:
    model, picture = Net(radius=8), image(*size)
    blended = joined(model, picture, window=(128, 128), overlap=overlap)
    torch.testing.assert_close(blended, whole(model, picture), rtol=1e-5, atol=1e-5)


def test_windows_without_overlap_have_seams() -> None:
    """So the test above can fail."""
    model, picture = Net(radius=8), image(150, 230)
    assert (joined(model, picture, window=(128, 128), overlap=0) - whole(model, picture)).abs().max() > 1e-3


def test_a_wide_receptive_field_changes_smoothly_across_a_seam() -> None:
    model, picture = Net(radius=40), image(128, 224)
    blended = joined(model, picture, window=(128, 128), overlap=32)
    cut = joined(model, picture, window=(128, 128), overlap=0)
    true = whole(model, picture)
    assert (blended - true).abs().max() < (cut - true).abs().max()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (70, 65), (64, 64), (200, 131)])
def test_constant_maps_stay_constant_at_any_size(size: tuple[int, int]) -> None:
    model, picture = Constant(), image(*size)
    torch.testing.assert_close(joined(model, picture, window=(64, 64)), whole(model, picture), rtol=0, atol=2e-6)


def test_what_fits_into_one_window_is_bitwise_the_whole_image() -> None:
    torch.manual_seed(0)
    model = build_model("fcn8", encoder="squeezenet1_0", classes=3).eval()
    picture = image(37, 53)
    assert torch.equal(joined(model, picture, window=(48, 64)), whole(model, picture))


def test_a_real_model_takes_any_size() -> None:
    torch.manual_seed(0)
    model = build_model("deeplabv3plus", encoder="mobilenet_v2", classes=3).eval()
    for size in ((1, 1), (65, 1), (131, 200)):
        assert joined(model, image(*size), window=(64, 64)).shape == (3, *size)


def test_memory_is_that_of_one_row_of_windows() -> None:
    tall = [band.shape[1] for _, band in bands(Constant(), image(1000, 40), window=(64, 64), overlap=16)]
    assert sum(tall) == 1000
    assert max(tall) <= 64 + 31


def test_wrong_numbers_are_told() -> None:
    for window, overlap in ((0, 0), (64, 64), (64, -1)):
        with pytest.raises(ValueError, match="overlap"):
            spans(100, window, overlap)
    assert default_overlap((480, 64)) == 16
    assert is_larger((65, 10), (64, 64))
    assert is_larger((10, 65), (64, 64))
    assert not is_larger((64, 64), (64, 64))
    assert not is_larger((9000, 9000), None)


@pytest.mark.parametrize(
    ("height", "width", "window", "windows"),
    [(500, 500, (512, 512), 1), (600, 800, (360, 480), 4), (1500, 2000, (512, 512), 20)],
)
def test_a_large_image_is_not_mostly_filled_up_batches(height, width, window, windows):
    overlap = default_overlap(window)
    rows, columns = spans(height, window[0], overlap), spans(width, window[1], overlap)
    assert len(rows) * len(columns) == windows
    size = _batch_size(rows, columns, most=8)
    shapes = Counter((row.stop - row.start, column.stop - column.start) for row in rows for column in columns)
    assert sum(-(-count // size) * size for count in shapes.values()) <= 1.25 * windows
    assert _batch_size(rows, columns, most=1) == 1
    assert _batch_size(spans(512 * 8, 512, 0), spans(512 * 8, 512, 0), most=8) == 8  # all of one shape
