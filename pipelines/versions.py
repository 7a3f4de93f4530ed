"""Which code made a run: written into `run.json`, the report and the registered version."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from weakseg import __version__

PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "timm", "scikit-image", "ray", "mlflow")


def versions() -> dict[str, str]:
    """Python and the packages that decide a result, by name."""
    # A checkout that a job brings along is not installed, or over an older one that the image has.
    own = {"python": platform.python_version(), "weakseg": __version__}
    return {**own, **{name: version(name) for name in PACKAGES}}


def git_sha() -> str | None:
    """The commit of the checkout this code runs from, with `-dirty` if it was changed.

    Outside a checkout what WEAKSEG_GIT_SHA says (a submitted job carries no `.git`), else None.
    """
    given = os.environ.get("WEAKSEG_GIT_SHA") or None
    command = ["git", "-C", str(Path(__file__).parents[1]), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return given
    return done.stdout.strip() or given if done.returncode == 0 else given
