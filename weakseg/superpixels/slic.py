"""SLIC superpixels whose compactness means the same on every image."""

import numpy as np
from numpy.typing import NDArray
from skimage import segmentation
from skimage.color import rgb2lab


def slic(
    image_HW3: NDArray[np.uint8], *, segments: int, compactness: float = 10.0, iterations: int = 10
) -> NDArray[np.int32]:
    """Cut an image into compact regions of similar colour.

    SLIC (Achanta et al., 2012) with scikit-image: k-means over colour and position, where two pixels lie
    sqrt((d_Lab / compactness)^2 + (d_yx / step)^2) apart and step is the grid spacing of the seeds.

    scikit-image stretches every image to its own minimum and maximum first, so that one bright pixel
    changes the segments everywhere. Here colour is always CIELAB in its own units.

    Args:
        image_HW3: (H, W, 3) uint8 RGB.
        segments: About how many segments to make, at least 1; the result has somewhat fewer or more.
        compactness: Weight of position against colour, in CIELAB units, above 0. 10 is SLIC's usual value; noise of
            that order tears regions into pieces, which are then merged into a few large ones: noisy images want more.
        iterations: Iterations of k-means, at least 1.

    Returns:
        (H, W) int32: the segment of each pixel. Each segment is 4-connected; ids are 0..n-1 without gaps.

    Raises:
        ValueError: The image is not (H, W, 3) uint8 or has no pixel, or a number is out of range.
    """
    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8 or image_HW3.size == 0:
        raise ValueError(f"expected a (H, W, 3) uint8 image, got shape {image_HW3.shape} of {image_HW3.dtype}")
    if segments < 1 or iterations < 1 or not 0 < compactness < float("inf"):
        raise ValueError(
            f"expected segments >= 1, iterations >= 1 and a finite compactness > 0, "
            f"got {segments}, {iterations} and {compactness}"
        )
    # Colour conversion is twice as fast in float32, the k-means a tenth faster in float64 (scikit-image 0.26).
    lab_HW3 = rgb2lab(image_HW3.astype(np.float32) / np.float32(255)).astype(np.float64)
    # scikit-image will divide by this spread. An affine map changes no nearest centre once the compactness
    # shrinks along, which leaves distances in CIELAB units whatever the image's range.
    spread = float(lab_HW3.max() - lab_HW3.min())
    segments_HW = segmentation.slic(
        lab_HW3,
        n_segments=segments,
        compactness=compactness / spread if spread > 0 else compactness,
        max_num_iter=iterations,
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    return _contiguous(segments_HW)


def _contiguous(segments_HW: NDArray[np.int64]) -> NDArray[np.int32]:
    """Renumber ids >= 0 to 0..n-1, keeping their order."""
    present = np.bincount(segments_HW.ravel()) > 0
    number = np.cumsum(present, dtype=np.int32) - np.int32(1)
    renumbered: NDArray[np.int32] = number[segments_HW]
    return renumbered
