"""A run's rounds as curves: what was reached for which annotation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from weakseg.datasets.classes import Classes
from weakseg.figures.style import DPI, Theme, colors_of, png, time_unit

_SERIES = {
    "light": (("mIoU", "miou", "#0b5cad", "o"), ("boundary F1", "boundary_f1", "#c2570c", "s")),
    "dark": (("mIoU", "miou", "#58a6ff", "o"), ("boundary F1", "boundary_f1", "#f0883e", "s")),
}


def learning_curve(rounds: Sequence[Mapping[str, Any]], *, theme: Theme = "light") -> bytes:
    """MIoU and boundary F1 against labels per image and against annotation time.

    What cost nothing in any round has no panel: without asked labels there is only the time, and without either the
    scores stand over the rounds.

    Args:
        rounds: One mapping per round with `labels_per_image`, `seconds` (both from the start), `miou` and
            `boundary_f1` (shares in 0..1; None where not measured).
        theme: Colours for a light or a dark page.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no round, or the theme is unknown.
    """
    colors = colors_of(theme)
    if not rounds:
        raise ValueError("expected at least one round")
    divisor, unit = time_unit(max(float(row["seconds"]) for row in rounds))
    costs = {
        "labels per image": [float(row["labels_per_image"]) for row in rounds],
        f"annotation time ({unit})": [float(row["seconds"]) / divisor for row in rounds],
    }
    panels = {name: x for name, x in costs.items() if max(x) > 0} or {"round": list(map(float, range(len(rounds))))}
    width = 9.0 if len(panels) > 1 else 5.4
    figure = Figure(figsize=(width, 3.6), dpi=DPI, layout="constrained", facecolor=colors["paper"])
    shown = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, x) in zip(shown, panels.items(), strict=True):
        _lines(axes, rounds, x, theme)
        axes.set_xlabel(name, color=colors["quiet"])
    shown[0].set_ylabel("validation score (%)", color=colors["quiet"])
    handles, labels = shown[0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=2, frameon=False, labelcolor=colors["ink"], fontsize=10
        )
    return png(figure)


def per_class(iou_RC: Sequence[Sequence[float | None]], classes: Classes, *, theme: Theme = "light") -> bytes:
    """IoU of every class in every round, as a table of shaded cells.

    Args:
        iou_RC: Per round and class, in 0..1; None or NaN where the class does not occur.
        classes: Names and colours.
        theme: Colours for a light or a dark page.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no round, a round has not one value per class, or the theme is unknown.
    """
    colors = colors_of(theme)
    if not iou_RC or any(len(row) != len(classes) for row in iou_RC):
        raise ValueError(f"expected at least one round of {len(classes)} values, got {[len(row) for row in iou_RC]}")
    values_CR = np.array([[np.nan if value is None else value for value in row] for row in iou_RC], np.float64).T * 100
    rounds = values_CR.shape[1]
    figure = Figure(
        figsize=(2.4 + 0.55 * max(rounds, 4), 0.7 + 0.32 * len(classes)),
        dpi=DPI,
        layout="constrained",
        facecolor=colors["paper"],
    )
    axes = figure.subplots()
    blend = LinearSegmentedColormap.from_list("iou", [colors["low"], colors["high"]])
    shades = blend.with_extremes(bad=colors["paper"])
    axes.imshow(np.ma.masked_invalid(values_CR), cmap=shades, vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values_CR):
        text = "–" if np.isnan(value) else f"{value:.0f}"  # noqa: RUF001 - typography
        ink = colors["quiet"] if np.isnan(value) else colors["paper"] if value > 55 else colors["ink"]
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(rounds), [str(number) for number in range(rounds)])
    # "$" would start a formula: names are shown as they are.
    axes.set_yticks(range(len(classes)), [name.replace("$", r"\$") for name in classes.names])
    for row, color in enumerate(classes.colors):
        axes.plot(
            -0.018, row, marker="s", markersize=8, color=np.array(color) / 255, markeredgewidth=0.5,
            markeredgecolor=colors["quiet"], transform=axes.get_yaxis_transform(), clip_on=False,
        )  # fmt: skip
    axes.set_xticks(np.arange(rounds + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=colors["paper"], linewidth=2)
    axes.tick_params(which="both", length=0, colors=colors["ink"], labelsize=10)
    axes.tick_params(axis="y", pad=14)
    axes.set_xlabel("round", color=colors["quiet"])
    axes.set_title("IoU (%)", loc="left", color=colors["quiet"], fontsize=10)
    axes.set_frame_on(False)
    return png(figure)


def _lines(axes: Axes, rounds: Sequence[Mapping[str, Any]], x: Sequence[float], theme: Theme) -> None:
    """Both scores over one axis; a round without a score leaves a gap."""
    colors = colors_of(theme)
    for name, key, color, marker in _SERIES[theme]:
        y = [np.nan if row.get(key) is None else 100 * float(row[key]) for row in rounds]
        if np.isnan(y).all():
            continue
        axes.plot(
            x, y, color=color, marker=marker, markersize=6, linewidth=2, label=name,
            markeredgecolor=colors["paper"], markeredgewidth=1, clip_on=False, zorder=3,
        )  # fmt: skip
        last = int(np.flatnonzero(~np.isnan(y))[-1])
        axes.annotate(
            f"{y[last]:.1f}", (x[last], y[last]), textcoords="offset points", xytext=(8, 0), va="center",
            color=color, fontsize=10, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    axes.set_facecolor(colors["paper"])
    axes.grid(axis="y", color=colors["grid"], linewidth=1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(colors["grid"])
    axes.tick_params(length=0, labelcolor=colors["quiet"], labelsize=9)
    axes.set_xlim(left=0, right=1.04 * (max(x) or 1.0))
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    whole = all(value.is_integer() for value in x)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=whole))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
