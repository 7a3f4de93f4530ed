"""Pictures of images, masks, points and runs: arrays and PNG bytes, without a window or global state."""

from weakseg.figures.curves import learning_curve, per_class
from weakseg.figures.overlays import draw_points, legend, overlay, panel
from weakseg.figures.reliability import reliability_diagram
from weakseg.figures.style import Theme
from weakseg.figures.sweeps import accuracy_over_cost, heat_map

__all__ = [
    "Theme",
    "accuracy_over_cost",
    "draw_points",
    "heat_map",
    "learning_curve",
    "legend",
    "overlay",
    "panel",
    "per_class",
    "reliability_diagram",
]
