"""Which code made a run: written into `run.json`, the report and the registered version."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("weakseg", "torch", "torchvision", "segmentation-models-pytorch", "timm", "scikit-image", "ray", "mlflow")


def versions() -> dict[str, str]:
    """Python and the packages that decide a result, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def git_sha() -> str | None:
    """The commit of the checkout this code runs from, with `-dirty` if it was changed; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parents[1]), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
