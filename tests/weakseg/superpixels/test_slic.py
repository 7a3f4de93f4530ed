import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import segmentation

from weakseg.superpixels import slic


def _photo(height: int = 60, width: int = 80, *, low: int = 0, high: int = 255, seed: int = 0) -> np.ndarray:
    """Smooth colour blobs over the whole of low..high."""
    noise = np.random.default_rng(seed).random((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (4, 4, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.round(low + smooth * (high - low)).astype(np.uint8)


def test_equals_scikit_image_where_its_scaling_does_nothing() -> None:
    image = _photo()
    assert (image.min(), image.max()) == (0, 255)
    expected = segmentation.slic(image, n_segments=40, compactness=10.0, max_num_iter=10, start_label=0)
    # Colours converted in float32 against float64: a pixel between two centres may fall either way.
    assert (slic(image, segments=40) == expected).mean() > 0.99


def test_compactness_does_not_depend_on_the_image_range() -> None:
    dark = _photo(low=20, high=60)
    spark = dark.copy()
    spark[0, 0] = 255
    ours = (slic(spark, segments=40) == slic(dark, segments=40))[20:].mean()
    scaled = {"n_segments": 40, "compactness": 10.0, "start_label": 0}
    theirs = (segmentation.slic(spark, **scaled) == segmentation.slic(dark, **scaled))[20:].mean()
    assert ours > 0.99
    assert theirs < 0.9, "scikit-image no longer rescales: the pinning can go"


def test_low_contrast_gives_squarer_segments() -> None:
    """With colour in absolute units position weighs more where colours hardly differ."""
    full, faint = _photo(), _photo(low=120, high=130)

    def outline(segments_HW: np.ndarray) -> int:
        return int((segments_HW[1:] != segments_HW[:-1]).sum() + (segments_HW[:, 1:] != segments_HW[:, :-1]).sum())

    assert outline(slic(faint, segments=40)) < 0.9 * outline(slic(full, segments=40))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    segments=st.integers(1, 80),
    seed=st.integers(0, 5),
    flat=st.booleans(),
)
def test_ids_are_contiguous_and_each_segment_is_connected(
    height: int, width: int, segments: int, seed: int, flat: bool
) -> None:
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), seed, np.uint8) if flat else rng.integers(0, 256, (height, width, 3), np.uint8)
    result = slic(image, segments=segments)
    assert result.shape == (height, width)
    assert result.dtype == np.int32
    assert np.array_equal(np.unique(result), np.arange(result.max() + 1))
    for segment in range(result.max() + 1):
        assert ndimage.label(result == segment)[1] == 1
    assert np.array_equal(result, slic(image, segments=segments))


def test_arguments_reach_the_algorithm() -> None:
    image = _photo()
    assert slic(image, segments=20).max() < slic(image, segments=100).max()
    assert not np.array_equal(slic(image, segments=40), slic(image, segments=40, iterations=1))
    assert not np.array_equal(slic(image, segments=40), slic(image, segments=40, compactness=50.0))


@pytest.mark.parametrize(
    ("image", "arguments"),
    [
        (np.zeros((4, 4, 3), np.float32), {}),
        (np.zeros((4, 4), np.uint8), {}),
        (np.zeros((4, 4, 4), np.uint8), {}),
        (np.zeros((0, 4, 3), np.uint8), {}),
        (np.zeros((4, 4, 3), np.uint8), {"segments": 0}),
        (np.zeros((4, 4, 3), np.uint8), {"compactness": 0.0}),
        (np.zeros((4, 4, 3), np.uint8), {"iterations": 0}),
    ],
)
def test_refuses_what_it_cannot_do(image: np.ndarray, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        slic(image, **{"segments": 4, **arguments})
