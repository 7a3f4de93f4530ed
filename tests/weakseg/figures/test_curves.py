import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from weakseg.datasets.classes import Classes
from weakseg.figures import curves, learning_curve, per_class

CLASSES = Classes(("road", "wa$ter_$", "Bäume"), ((90, 90, 90), (0, 0, 255), (255, 255, 255)))
BLUE, ORANGE = (11, 92, 173), (194, 87, 12)


def rounds(count: int, **changes):
    return [
        {"labels_per_image": 10.0 * (k + 1), "seconds": 40.0 * (k + 1), "miou": 0.3 + k / 20, "boundary_f1": 0.2}
        | changes
        for k in range(count)
    ]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def count(png: bytes, color: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(png) - np.array(color)).max(2) <= 2).sum())


@pytest.mark.parametrize("number", [1, 2, 30])
def test_both_scores_are_drawn_twice(number: int) -> None:
    picture = pixels(learning_curve(rounds(number)))
    for color in (BLUE, ORANGE):
        found = (np.abs(picture - np.array(color)).max(2) <= 2).any(0)
        half = picture.shape[1] // 2
        assert found[:half].any()
        assert found[half:].any()


def test_what_was_not_measured_is_left_out() -> None:
    assert count(learning_curve(rounds(3, boundary_f1=None)), ORANGE) == 0
    assert count(learning_curve(rounds(3, boundary_f1=None)), BLUE) > 100
    empty = learning_curve(rounds(3, miou=None, boundary_f1=None))
    assert count(empty, BLUE) == count(empty, ORANGE) == 0


def test_no_label_at_all_is_still_a_picture() -> None:
    assert count(learning_curve(rounds(1, labels_per_image=0.0, seconds=0.0)), BLUE) > 20


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ["labels per image", "annotation time (seconds)"]),
        ({"labels_per_image": 0.0}, ["annotation time (seconds)"]),
        ({"seconds": 0.0}, ["labels per image"]),
        ({"labels_per_image": 0.0, "seconds": 0.0}, ["round"]),
    ],
)
@pytest.mark.parametrize("number", [1, 3])
def test_what_cost_nothing_has_no_axis(
    changes: dict[str, float], shown: list[str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "png", lambda figure: figure)
    panels = learning_curve(rounds(number, **changes)).axes
    assert [axes.get_xlabel() for axes in panels] == shown
    assert panels[0].get_ylabel() == "validation score (%)"
    for axes in panels:
        assert axes.get_xlim()[1] >= 1
    if shown == ["round"]:
        assert list(panels[0].lines[0].get_xdata()) == list(range(number))
        assert all(tick == int(tick) for tick in panels[0].get_xticks())


@pytest.mark.parametrize(("theme", "paper"), [("light", (255, 255, 255)), ("dark", (22, 27, 34))])
def test_themes_have_their_paper(theme: str, paper: tuple[int, int, int]) -> None:
    for png in (learning_curve(rounds(2), theme=theme), per_class([[0.1, None, 0.9]], CLASSES, theme=theme)):
        assert tuple(pixels(png)[1, 1]) == paper


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        learning_curve([])
    with pytest.raises(ValueError, match="unknown theme 'sepia'; known: light, dark"):
        learning_curve(rounds(1), theme="sepia")
    with pytest.raises(ValueError, match=r"3 values, got \[2\]"):
        per_class([[0.1, 0.2]], CLASSES)


def test_cells_are_darker_the_better() -> None:
    picture = pixels(per_class([[0.0, 0.5, 1.0], [1.0, float("nan"), 0.0]], CLASSES))
    for color in ((243, 246, 250), BLUE, (0, 0, 255)):  # nothing, everything, and the colour chip of a class
        assert (np.abs(picture - np.array(color)).max(2) <= 3).sum() > 100


def test_more_rounds_make_a_wider_table() -> None:
    few, many = (pixels(per_class([[0.1, 0.2, 0.3]] * number, CLASSES)) for number in (4, 12))
    assert many.shape[1] > few.shape[1] + 500
    assert many.shape[0] == few.shape[0]


def test_no_figure_is_kept_by_pyplot() -> None:
    program = (
        "import sys; from weakseg.figures import learning_curve;"
        "learning_curve([{'labels_per_image': 1, 'seconds': 1, 'miou': .1, 'boundary_f1': .1}]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
