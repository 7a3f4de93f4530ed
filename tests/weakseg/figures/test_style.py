import gc
import io
import re
import weakref

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from weakseg.figures.style import DPI, colors_of, png, time_unit

THEMES = ("light", "dark")


def brightness(color: str) -> int:
    return sum(bytes.fromhex(color[1:]))


def test_themes_have_colours_for_the_same_things() -> None:
    light, dark = map(colors_of, THEMES)
    assert light.keys() == dark.keys() == {"paper", "ink", "quiet", "grid", "low", "high"}
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in (*light.values(), *dark.values()))


@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_ink_is_seen_best_on_its_paper(theme: str, dark: bool) -> None:
    colors = colors_of(theme)
    away = {name: abs(brightness(color) - brightness(colors["paper"])) for name, color in colors.items()}
    assert away["ink"] > away["quiet"] > away["grid"] > 0
    assert away["high"] > away["low"] > 0
    assert (brightness(colors["ink"]) > brightness(colors["paper"])) == dark


def test_an_unknown_theme_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown theme 'sepia'; known: light, dark"):
        colors_of("sepia")


@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_is_drawn_in_its_size_and_on_its_paper(theme: str) -> None:
    paper = colors_of(theme)["paper"]
    data = png(Figure(figsize=(2.0, 1.5), dpi=DPI, facecolor=paper))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("PNG", (2 * DPI, 3 * DPI // 2))
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels == np.frombuffer(bytes.fromhex(paper[1:]), np.uint8)).all()


def test_the_same_figure_gives_the_same_bytes() -> None:
    def drawn() -> bytes:
        figure = Figure(figsize=(1.0, 1.0), dpi=DPI)
        figure.subplots().plot([1, 3, 2])
        return png(figure)

    assert drawn() == drawn()


def test_a_figure_that_was_drawn_is_not_kept() -> None:
    figure = Figure(figsize=(1.0, 1.0))
    png(figure)
    kept = weakref.ref(figure)
    del figure
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(
    ("seconds", "divisor", "unit"),
    [
        (0, 1, "seconds"),
        (179.9, 1, "seconds"),
        (180, 60, "minutes"),
        (3 * 3600 - 1, 60, "minutes"),
        (3 * 3600, 3600, "hours"),
        (1e9, 3600, "hours"),
    ],
)
def test_time_is_told_in_the_unit_that_reads_well(seconds: float, divisor: float, unit: str) -> None:
    assert time_unit(seconds) == (divisor, unit)
