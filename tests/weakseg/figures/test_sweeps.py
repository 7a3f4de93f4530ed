import io

import numpy as np
import pytest
from PIL import Image

from weakseg.figures import accuracy_over_cost, heat_map

LOW, BLUE, ORANGE, QUIET = (243, 246, 250), (11, 92, 173), (194, 87, 12), (101, 109, 118)
NAMES = {"rows": ["0.0", "0.1"], "columns": ["5", "10", "$20"], "row_name": "loss.$x", "column_name": "budget"}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def count(png: bytes, color: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(png) - np.array(color)).max(2) <= 3).sum())


def test_worst_and_best_have_the_ends_of_the_shades():
    picture = heat_map([[0.2, 0.3, 0.25], [0.3, 0.3, 0.4]], **NAMES)
    assert count(picture, LOW) > 2000
    assert count(picture, BLUE) > 2000


def test_cells_stand_where_their_row_and_column_are():
    picture = pixels(heat_map([[0.1, 0.1, 0.1], [0.1, 0.1, 0.9]], **NAMES))
    rows, columns = np.nonzero(np.abs(picture - np.array(BLUE)).max(2) <= 3)
    assert rows.mean() > picture.shape[0] * 0.5
    assert columns.mean() > picture.shape[1] * 0.7


def test_missing_and_equal_scores_are_still_a_picture():
    assert count(heat_map([[None, 0.3, float("nan")], [None, None, None]], **NAMES), LOW) > 2000
    assert count(heat_map([[None] * 3] * 2, **NAMES), BLUE) == 0


def test_the_front_is_drawn_and_what_is_beaten_stays_quiet():
    beaten = accuracy_over_cost([10, 20, 30], [0.3, 0.5, 0.4])
    none = accuracy_over_cost([10, 20, 30], [0.3, 0.5, 0.6])
    assert count(beaten, BLUE) > 300
    assert count(none, BLUE) > count(beaten, BLUE)
    assert count(beaten, ORANGE) > 50
    assert count(none, ORANGE) == 0


def test_deviations_and_labels_are_drawn():
    plain = accuracy_over_cost([10, 9000], [0.3, 0.5])
    assert count(accuracy_over_cost([10, 9000], [0.3, 0.5], deviations_N=[0.05, None]), QUIET) > count(plain, QUIET)
    named = accuracy_over_cost([10, 9000], [0.3, 0.5], labels_N=["loss.point=$1", "b"])
    assert (pixels(named) != pixels(plain)).any()


@pytest.mark.parametrize(("theme", "paper"), [("light", (255, 255, 255)), ("dark", (22, 27, 34))])
def test_themes_have_their_paper(theme: str, paper: tuple[int, int, int]):
    for png in (heat_map([[0.1, 0.2, 0.3]] * 2, **NAMES, theme=theme), accuracy_over_cost([1], [0.5], theme=theme)):
        assert tuple(pixels(png)[1, 1]) == paper


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"2 rows of 3 scores, at least one, got \[2\]"):
        heat_map([[0.1, 0.2]], **NAMES)
    with pytest.raises(ValueError, match="at least one point"):
        accuracy_over_cost([], [])
    with pytest.raises(ValueError, match="as many scores"):
        accuracy_over_cost([1, 2], [0.5])
    with pytest.raises(ValueError, match="unknown theme"):
        accuracy_over_cost([1], [0.5], theme="sepia")
