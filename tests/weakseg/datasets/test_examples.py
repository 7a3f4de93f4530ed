import numpy as np
import pytest

from weakseg import codec
from weakseg.datasets import Example, InMemory, from_records, open_layout, records


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


def test_masks_can_be_kept_out(found):
    assert {example.mask_HW is None for example in from_records(found, masks=False)} == {True}


def test_a_list_of_examples():
    image = np.zeros((4, 4, 3), np.uint8)
    one = Example("a", image, np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    assert len(InMemory([one, one])) == 2
    assert InMemory([one])[0] is one
    assert InMemory([]).block_sizes == ()
    with pytest.raises(IndexError):
        InMemory([one])[1]
