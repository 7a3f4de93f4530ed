import numpy as np
import pytest

from weakseg import codec
from weakseg.datasets import Coarse, Example, InMemory, from_records, open_layout, records


@pytest.fixture
def found():
    layout = open_layout("scenes", None, images=4, size=(32, 40))
    return [record for source in layout.sources() for record in records(layout, source)]


def test_records_become_examples_with_their_points(found):
    points = {"scene-000001": ([(3, 4), (5, 6)], [2, 0])}
    segments = {"scene-000002": np.zeros((32, 40), np.int32)}
    examples = from_records(found, points=points, segments=segments)
    assert [example.image_id for example in examples] == [record.image_id for record in found]
    assert examples.block_sizes == (4,)
    for record, example in zip(found, examples, strict=True):
        np.testing.assert_array_equal(example.image_HW3, codec.decode_image(record.image))
        np.testing.assert_array_equal(example.mask_HW, record.mask)
        assert (example.points_N2.dtype, example.labels_N.dtype) == (np.float32, np.int64)
        assert example.points_N2.shape == (len(example.labels_N), 2)
    assert examples[1].points_N2.tolist() == [[3, 4], [5, 6]]
    assert examples[1].labels_N.tolist() == [2, 0]
    assert len(examples[0].labels_N) == 0
    assert examples[2].segments_HW is not None
    assert examples[0].segments_HW is None


def test_records_become_examples_with_what_is_known_of_their_images(found):
    dots = np.full((32, 40), 255, np.uint8)
    shares = {"scene-000001": [0.25, 0.75, 0, 0]}
    examples = from_records(found, keypoints={"scene-000000": dots}, proportions=shares)
    assert examples[1].proportions_C.tolist() == [0.25, 0.75, 0, 0]
    assert examples[0].keypoints_HW is dots
    assert (examples[0].proportions_C, examples[1].keypoints_HW) == (None, None)


def test_coarse_maps_can_stand_in_for_masks():
    layout = open_layout("scenes", None, images=4, size=(32, 40))
    source = next(iter(layout.sources()))
    (record,) = records(layout, source, coarse=Coarse("masks"), coarsen=lambda mask_HW, **_: np.full_like(mask_HW, 255))
    assert (from_records([record], masks="coarse")[0].mask_HW == 255).all()


def test_masks_can_be_kept_out(found):
    assert {example.mask_HW is None for example in from_records(found, masks=False)} == {True}


def test_what_is_given_for_other_images_alone_is_refused(found):
    """Such as labels of whole images for records that are cut out of them, which would all be without."""
    from_records(found[:2], points={"scene-000000": ([], []), "scene-000003": ([], [])})  # those of all splits
    with pytest.raises(ValueError, match=r"points: none of the 4 records is meant: .* 'scene-00000\d', not 'scene'"):
        from_records(found, points={"scene": ([(3, 4)], [2])})
    with pytest.raises(ValueError, match="masks must be True, False or 'coarse', came 'Coarse'"):
        from_records(found, masks="Coarse")


def test_a_list_of_examples():
    image = np.zeros((4, 4, 3), np.uint8)
    one = Example("a", image, np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    assert len(InMemory([one, one])) == 2
    assert InMemory([one])[0] is one
    assert InMemory([]).block_sizes == ()
    with pytest.raises(IndexError):
        InMemory([one])[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_HW3": np.zeros((3, 4, 6), np.uint8)},
            r"a: image must be uint8 RGB .* \(3, 4, 6\)",
        ),
        ({"image_HW3": np.zeros((4, 6, 3), np.float32)}, "came float32"),
        ({"points_N2": np.zeros((2, 3), np.float32)}, r"points must be \(N, 2\) and labels N integers"),
        ({"labels_N": np.zeros(1, np.int64)}, r"labels N integers, came \(2, 2\) and int64 \(1,\)"),
        ({"labels_N": np.zeros(2)}, "came .* float64"),
        ({"points_N2": np.float32([[0, 0], [1, 6]])}, "a: point y=1, x=6 lies outside the image of 4x6"),
        ({"points_N2": np.float32([[-1, 0], [1, 2]])}, "y=-1, x=0 lies outside"),
        ({"points_N2": np.float32([[0, 0], [np.nan, 1]])}, "y=nan, x=1 lies outside"),
        ({"points_N2": np.float32([[0, 0], [3.5, 1]])}, "y=3.5, x=1 lies outside"),
        ({"mask_HW": np.full((4, 6), 299)}, "mask_HW must be from 0 to 255, came 299 to 299"),
        ({"keypoints_HW": np.full((4, 6), -100)}, "keypoints_HW must be from 0 to 255, came -100 to -100"),
        ({"counted_HW": np.full((4, 6), 256)}, "counted_HW must be from 0 to 255"),
        ({"segments_HW": np.full((4, 6), 2**32 + 5)}, "segments_HW must be from -1 to 2147483647, came 4294967301"),
        ({"segments_HW": np.full((4, 6), -2)}, "segments_HW must be from -1"),
        ({"mask_HW": np.zeros((6, 4), np.uint8)}, r"mask_HW must be integers of the image's size \(4, 6\)"),
        ({"segments_HW": np.zeros((4, 6))}, "segments_HW must be integers .* came float64"),
        ({"proportions_C": np.zeros((2, 2), np.float32)}, r"proportions must be \(C,\)"),
        ({"proportions_C": np.float32([20, 30, 50])}, r"a: proportions must be shares .* came \[20.0, 30.0, 50.0\]"),
        ({"proportions_C": np.float32([-0.5, 1.5])}, "shares >= 0 that sum to 1"),
        ({"proportions_C": np.float32([0.5, 0.3])}, "shares >= 0 that sum to 1"),
        ({"proportions_C": np.float32([np.nan, 1.0])}, "or all NaN"),
        ({"proportions_C": np.float32([1.5])}, "of one class: from 0 to 1"),
    ],
)
def test_what_training_would_misread_is_refused(changes, message):
    right = {
        "image_HW3": np.zeros((4, 6, 3), np.uint8),
        "points_N2": np.float32([[-0.5, -0.5], [3.4, 5.4]]),
        "labels_N": np.int64([0, 255]),
        "mask_HW": np.zeros((4, 6), np.uint8),
    }
    for fine in ([0.2, 0.79], [np.nan, np.nan], [0.4], [0.0]):
        Example("a", **right, proportions_C=np.float32(fine))
    with pytest.raises(ValueError, match=message):
        Example("a", **{**right, **changes})
