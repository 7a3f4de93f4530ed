"""The learning curves of a study beside the line of full masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def save(found: Mapping[str, Any], path: Path) -> None:
    """Draw validation mIoU against labels per image: mean over seeds, with a band of one standard deviation.

    Args:
        found: What :func:`benchmarks.studies.findings.summary` gave.
        path: The PNG file.
    """
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(found["curves"].items()):
        labels = [point["labels_per_image"] for point in points]
        mean = [100 * point["miou"]["mean"] for point in points]
        sd = [100 * (point["miou"]["sd"] or 0.0) for point in points]
        color = f"C{number}"
        axes.plot(labels, mean, "o-", color=color, label=name)
        low, high = [m - s for m, s in zip(mean, sd, strict=True)], [m + s for m, s in zip(mean, sd, strict=True)]
        axes.fill_between(labels, low, high, color=color, alpha=0.2, linewidth=0)
        axes.set_xticks(labels)
    masks = found["final"].get("masks", {}).get("validation")
    if masks:
        axes.axhline(100 * masks["mean"], color="0.4", linestyle="--", label="full masks")
        if masks["sd"] is not None:
            axes.axhspan(
                100 * (masks["mean"] - masks["sd"]), 100 * (masks["mean"] + masks["sd"]), color="0.4", alpha=0.12
            )
    seeds = max((points[-1]["miou"]["seeds"] for points in found["curves"].values()), default=0)
    axes.set(xlabel="labelled pixels per image", ylabel="validation mIoU (%)")
    axes.set_title(
        f"CamVid at 144x192, {seeds} seed{'s' if seeds != 1 else ''}, band = one standard deviation", fontsize=10
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
