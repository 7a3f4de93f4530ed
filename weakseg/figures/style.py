"""What all figures share: colours for light and dark pages, and PNG bytes."""

import io
from typing import Literal, TypeAlias

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Theme: TypeAlias = Literal["light", "dark"]

_THEMES: dict[str, dict[str, str]] = {
    "light": {
        "paper": "#ffffff",
        "ink": "#1f2328",
        "quiet": "#656d76",
        "grid": "#e4e7eb",
        "low": "#f3f6fa",
        "high": "#0b5cad",
    },
    "dark": {
        "paper": "#161b22",
        "ink": "#e6edf3",
        "quiet": "#9aa4af",
        "grid": "#2d333b",
        "low": "#1c2430",
        "high": "#58a6ff",
    },
}

DPI = 160


def colors_of(theme: str) -> dict[str, str]:
    """A theme's colours by what they are for; ValueError for an unknown one."""
    if theme not in _THEMES:
        raise ValueError(f"unknown theme {theme!r}; known: {', '.join(_THEMES)}")
    return _THEMES[theme]


def png(figure: Figure) -> bytes:
    """Draw a figure."""
    # A canvas of its own: pyplot would keep every figure alive and needs one thread.
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor())
    return buffer.getvalue()


def time_unit(seconds: float) -> tuple[float, str]:
    """By what to divide seconds so that the longest reads well, and the unit's name."""
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")
