"""A sweep's points as pictures: the score over two settings, and what is worth its annotation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from weakseg.figures.style import DPI, Theme, colors_of, png, time_unit
from weakseg.metrics.pareto import pareto_front

_FRONT = {"light": "#0b5cad", "dark": "#58a6ff"}
_BEATEN = {"light": "#c2570c", "dark": "#f0883e"}


def heat_map(
    scores_RC: Sequence[Sequence[float | None]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    row_name: str,
    column_name: str,
    score_name: str = "mIoU",
    theme: Theme = "light",
) -> bytes:
    """A score over two settings, as shaded cells with their values, the best one in bold.

    Args:
        scores_RC: Per row and column, in 0..1; None or NaN where there is none.
        rows: The values of the setting that changes downwards.
        columns: The values of the setting that changes to the right.
        row_name: What changes downwards.
        column_name: What changes to the right.
        score_name: What the cells show.
        theme: Colours for a light or a dark page.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no cell, the scores are not one per row and column, or the theme is unknown.
    """
    colors = colors_of(theme)
    if not rows or not columns or [len(row) for row in scores_RC] != [len(columns)] * len(rows):
        raise ValueError(
            f"expected {len(rows)} rows of {len(columns)} scores, at least one, got {[len(row) for row in scores_RC]}"
        )
    values_RC = np.array([[np.nan if value is None else value for value in row] for row in scores_RC], np.float64) * 100
    figure = Figure(
        figsize=(2.6 + 0.8 * max(len(columns), 3), 1.3 + 0.5 * max(len(rows), 2)),
        dpi=DPI,
        layout="constrained",
        facecolor=colors["paper"],
    )
    axes = figure.subplots()
    known = values_RC[~np.isnan(values_RC)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    blend = LinearSegmentedColormap.from_list("score", [colors["low"], colors["high"]])
    # Between the worst and the best: the differences are what a sweep is for.
    shades = blend.with_extremes(bad=colors["paper"])
    axes.imshow(np.ma.masked_invalid(values_RC), cmap=shades, vmin=low, vmax=max(high, low + 1e-9), aspect="auto")
    for (row, column), value in np.ndenumerate(values_RC):
        text = "–" if np.isnan(value) else f"{value:.1f}"  # noqa: RUF001 - typography
        dark = not np.isnan(value) and high > low and (value - low) / (high - low) > 0.55
        ink = colors["quiet"] if np.isnan(value) else colors["paper"] if dark else colors["ink"]
        best = bool(known.size) and value == high
        axes.text(
            column, row, text, ha="center", va="center", color=ink, fontsize=10, fontweight="bold" if best else "normal"
        )
    axes.set_xticks(range(len(columns)), [_plain(name) for name in columns])
    axes.set_yticks(range(len(rows)), [_plain(name) for name in rows])
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=colors["paper"], linewidth=2)
    axes.tick_params(which="both", length=0, colors=colors["ink"], labelsize=10)
    axes.set_xlabel(_plain(column_name), color=colors["quiet"])
    axes.set_ylabel(_plain(row_name), color=colors["quiet"])
    axes.set_title(f"validation {score_name} (%)", loc="left", color=colors["quiet"], fontsize=10)
    axes.set_frame_on(False)
    return png(figure)


def accuracy_over_cost(
    seconds_N: Sequence[float],
    scores_N: Sequence[float],
    *,
    deviations_N: Sequence[float | None] | None = None,
    labels_N: Sequence[str] | None = None,
    score_name: str = "mIoU",
    theme: Theme = "light",
) -> bytes:
    """Score against annotation time, with the Pareto front as a line and named on it.

    Args:
        seconds_N: (N,) annotation seconds.
        scores_N: (N,) scores in 0..1.
        deviations_N: (N,) standard deviations of the scores, drawn as bars; None = not known.
        labels_N: (N,) names of the points; those on the front are written beside them.
        score_name: What is on the vertical axis.
        theme: Colours for a light or a dark page.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no point, the lengths differ, or the theme is unknown.
    """
    colors = colors_of(theme)
    count = len(seconds_N)
    for given in (scores_N, deviations_N, labels_N):
        if count < 1 or (given is not None and len(given) != count):
            raise ValueError(f"expected at least one point and as many scores, deviations and labels, got {count}")
    divisor, unit = time_unit(max(seconds_N))
    x_N = np.asarray(seconds_N, np.float64) / divisor
    y_N = 100 * np.asarray(scores_N, np.float64)
    sd_N = np.array([0.0 if sd is None else 100 * sd for sd in deviations_N or [None] * count])
    front_N = pareto_front(seconds_N, scores_N)
    figure = Figure(figsize=(6.4, 4.0), dpi=DPI, layout="constrained", facecolor=colors["paper"])
    axes = figure.subplots()
    axes.errorbar(
        x_N, y_N, yerr=sd_N if sd_N.any() else None, fmt="none", ecolor=colors["quiet"], elinewidth=1, zorder=2
    )
    axes.scatter(
        x_N[~front_N], y_N[~front_N], s=36, marker="s", color=_BEATEN[theme], edgecolor=colors["paper"], zorder=3
    )
    order = np.flatnonzero(front_N)[np.lexsort((y_N[front_N], x_N[front_N]))]
    axes.plot(
        x_N[order], y_N[order], color=_FRONT[theme], marker="o", markersize=7, linewidth=2, drawstyle="steps-post",
        markeredgecolor=colors["paper"], label="Pareto front", zorder=4,
    )  # fmt: skip
    for number in order if labels_N is not None else ():
        assert labels_N is not None
        axes.annotate(
            _plain(labels_N[number]), (x_N[number], y_N[number]), textcoords="offset points", xytext=(6, 6),
            color=colors["ink"], fontsize=8,
        )  # fmt: skip
    axes.set_facecolor(colors["paper"])
    axes.grid(axis="y", color=colors["grid"], linewidth=1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(colors["grid"])
    axes.tick_params(length=0, labelcolor=colors["quiet"], labelsize=9)
    axes.margins(x=0.16, y=0.16)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"annotation time ({unit})", color=colors["quiet"])
    axes.set_ylabel(f"validation {score_name} (%)", color=colors["quiet"])
    figure.legend(loc="outside upper left", frameon=False, labelcolor=colors["ink"], fontsize=10)
    return png(figure)


def _plain(text: str) -> str:
    """`$` would start a formula: names are shown as they are."""
    return text.replace("$", r"\$")
