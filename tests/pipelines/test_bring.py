"""What images bring: which kind wins where several label a pixel, and that nothing is made up."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.bring import Bring, Keypoints, Proportions
from weakseg.datasets import Example
from weakseg.schema import LABELS
from weakseg.supervision import RegionIndex

SEGMENTS = np.repeat(np.arange(4, dtype=np.int32), 4).reshape(4, 4)  # a row is a segment


class Held:
    """Maps by image id."""

    def __init__(self, **maps: np.ndarray) -> None:
        self._maps = maps

    def find(self, image_id: str) -> np.ndarray | None:
        return self._maps.get(image_id)


def example(image_id: str = "a", points: tuple[tuple[int, int, int], ...] = ()) -> Example:
    """An image of 4x4 with points (y, x, class)."""
    table = np.array(points, np.int64).reshape(-1, 3)
    return Example(
        image_id, np.zeros((4, 4, 3), np.uint8), table[:, :2].astype(np.float32), table[:, 2], segments_HW=SEGMENTS
    )


def regions(*rows: tuple[str, int, int]) -> RegionIndex:
    """Answers (image_id, segment, class)."""
    columns = {
        "answer_id": [str(number) for number in range(len(rows))],
        "image_id": [row[0] for row in rows],
        "round": [0] * len(rows),
        "kind": ["region"] * len(rows),
        "segment": [row[1] for row in rows],
        "class_id": [row[2] for row in rows],
    }
    arrays = {field.name: columns.get(field.name, [None] * len(rows)) for field in LABELS}
    return RegionIndex(["a", "b"], pa.table(arrays, schema=LABELS))


def full(value: int) -> np.ndarray:
    return np.full((4, 4), value, np.uint8)


def test_an_image_that_brings_nothing_stays_as_it_is():
    found = Bring()(0, example())
    assert found.mask_HW is None
    assert found.keypoints_HW is None
    assert found.proportions_C is None


def test_a_full_mask_stands_alone():
    mask_HW = full(2)
    mask_HW[0] = 255
    bring = Bring(masks=Held(a=mask_HW), coarse=Held(a=full(1)), spread=True)
    np.testing.assert_array_equal(bring(0, example(points=((0, 0, 3),))).mask_HW, mask_HW)


def test_later_kinds_fill_only_what_is_unlabelled():
    coarse_HW = full(255)
    coarse_HW[0, :2] = 1
    bring = Bring(coarse=Held(a=coarse_HW), regions=regions(("a", 0, 2), ("a", 1, 2), ("b", 3, 2)), spread=True)
    found = bring(0, example(points=((1, 0, 3), (2, 0, 3)))).mask_HW
    expected = full(255)
    expected[0] = [1, 1, 2, 2]
    expected[1], expected[2] = 2, 3
    np.testing.assert_array_equal(found, expected)


def test_what_nobody_could_name_gets_no_label_from_its_segment():
    bring = Bring(spread=True, keypoints=Keypoints(None, per_class=1, radius=1, seed=0))
    found = bring(0, example(points=((1, 0, 3), (1, 2, 255))))
    assert found.mask_HW[1].tolist() == [3, 3, 255, 3]
    assert found.keypoints_HW[1].tolist() == [3, 255, 255, 255]  # the later of two at one distance decides
    assert bring(0, example(points=((1, 2, 255),))).keypoints_HW is None


def test_shares_decide_which_images_bring_a_kind():
    chosen = np.array([False, True])
    bring = Bring(masks=Held(a=full(0), b=full(0)), mask_images=chosen)
    assert bring(0, example("a")).mask_HW is None
    assert bring(1, example("b")).mask_HW is not None
    ids = pa.array(["a", "b"])
    assert [int(mask_HW[0, 0]) for mask_HW in bring.dense(ids)] == [0]


def test_proportions_come_with_the_mask_only_where_they_can_be_counted_anew():
    table = np.array([[0.25, 0.75], [np.nan, np.nan]], np.float32)
    masks = Held(a=full(1))
    found = Bring(proportions=Proportions(table))(0, example())
    assert found.proportions_C.tolist() == [0.25, 0.75]
    assert found.counted_HW is None
    assert Bring(proportions=Proportions(table, masks))(0, example()).counted_HW is not None
    assert Bring(proportions=Proportions(table, masks))(1, example("b")).proportions_C is None


@pytest.mark.parametrize("points", [((1, 1, 2),), ()])
def test_keypoints_from_labels_are_the_points(points):
    bring = Bring(keypoints=Keypoints(None, per_class=1, radius=0, seed=0))
    found = bring(0, example(points=points)).keypoints_HW
    if not points:
        assert found is None
    else:
        expected = full(255)
        expected[1, 1] = 2
        np.testing.assert_array_equal(found, expected)


def test_keypoints_from_masks_are_the_same_every_time_and_true():
    mask_HW = np.arange(16, dtype=np.uint8).reshape(4, 4) % 3
    keypoints = Keypoints(Held(a=mask_HW), per_class=1, radius=0, seed=3)
    first, again = (Bring(keypoints=keypoints)(0, example()).keypoints_HW for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != 255).sum() == 3
    np.testing.assert_array_equal(first[first != 255], mask_HW[first != 255])
    assert Bring(keypoints=keypoints)(1, example("b")).keypoints_HW is None
