"""Where everything lies in the storage, as functions from names to keys.

::

    pools/<digest>/  sources/  images/  masks/  superpixels/<slic digest>/  supervision/{proportions,<digest>}/
                     classes.yaml  manifest.json  quarantine.parquet  _SUCCESS
    runs/<run>/      run.json  owner.json  rounds/000/  chosen.json  test.json  report.html  annotation.secret
                     answers.sqlite; on S3 answers/ and answers.leases.json
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

SUCCESS = "_SUCCESS"

PROPORTIONS_TABLE = "supervision/proportions"
"""Class proportions counted in the masks: they depend on the images alone."""

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def pool_key(digest: str) -> str:
    """The folder of a pool."""
    return f"pools/{digest}"


def pool_lock_key(digest: str) -> str:
    """What the one who prepares a pool holds locked: beside the pool, so that the pool can be deleted."""
    return f"pools/{digest}.lock"


def sources_key(digest: str, file: int) -> str:
    """A file of the list of source images."""
    return f"{pool_key(digest)}/sources/part-{file:06d}.parquet"


def part_key(digest: str, table: str, part: int) -> str:
    """A part of one of the pool's tables.

    Args:
        digest: The pool's.
        table: ``images``, ``masks``, ``quarantine`` or what :func:`superpixels_table` gives.
        part: Which part.
    """
    return f"{pool_key(digest)}/{table}/part-{part:06d}.parquet"


def superpixels_table(segments: int, compactness: float) -> str:
    """The name of the table of superpixels made with these settings.

    Raises:
        ValueError: If there are to be no superpixels (0 segments).
    """
    if segments < 1:
        raise ValueError(f"superpixels.segments is {segments}: this pool has no superpixels; set it to 1 or more")
    settings = f"slic 1 segments={segments} compactness={float(compactness)!r} iterations=10"
    return f"superpixels/{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def coarse_table(source: str, erosion: int, tolerance: float) -> str:
    """The name of the table of coarse labels made with these settings; the layout's own have none."""
    settings = "layout" if source == "layout" else f"masks erosion={erosion} tolerance={float(tolerance)!r}"
    return f"supervision/{hashlib.sha256(f'coarse 1 {settings}'.encode()).hexdigest()[:12]}"


def configured_coarse_table(supervision: Mapping[str, Any]) -> str | None:
    """The table of coarse labels that section `supervision` asks for; None if they come from a file or there are none.

    Args:
        supervision: The section as plain values.
    """
    source = supervision.get("coarse")
    if source not in ("masks", "layout"):
        return None
    return coarse_table(source, supervision["coarsening"]["erosion"], supervision["coarsening"]["tolerance"])


def configured_holdout(config: Mapping[str, Any]) -> tuple[float, int] | None:
    """Which share of images without masks people are asked about to estimate the accuracy, and the seed of the draw.

    Args:
        config: The whole configuration as plain values.
    """
    labelling = config.get("labelling") or {}
    if labelling.get("annotator") != "browser" or not labelling.get("holdout"):
        return None
    return float(labelling["holdout"]), int(config["seed"])


def run_key(run: str) -> str:
    """The folder of a run.

    Raises:
        ValueError: If the name cannot be a folder's.
    """
    if not _RUN.fullmatch(run):
        raise ValueError(f"run {run!r}: expected letters, digits, '.', '_' and '-', starting with a letter or digit")
    return f"runs/{run}"


def round_folder(round: int) -> str:
    """The folder of a round, within its run."""
    if round < 0:
        raise ValueError(f"round {round}: expected 0 or more")
    return f"rounds/{round:03d}"


def round_key(run: str, round: int) -> str:
    """The folder of a round."""
    return f"{run_key(run)}/{round_folder(round)}"
