"""What makes two runs the same: the settings that change the result, and never a path."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pipelines.config.root import Config

_IDENTITY = ("superpixels", "supervision", "model", "loss", "training", "labelling")


def identity(config: Config, pool_digest: str) -> dict[str, Any]:
    """The settings that may not change between two starts of one run.

    The number of rounds, when to stop, workers, tracking, storage and where people answer may change. A file (of
    weights, proportions or coarse labels) counts by its content.

    Args:
        config: The run's configuration.
        pool_digest: The digest of the prepared images, which stands for section `data`.

    Returns:
        Values that JSON can hold, by dotted field name, so that two identities can be compared line by line.
    """
    dump = config.model_dump(mode="json")
    fields = {"pool": pool_digest, "seed": config.seed, "evaluate.boundary_radius": config.evaluate.boundary_radius}
    for section in _IDENTITY:
        fields |= _flat(section, dump[section])
    operational = {"labelling.rounds", "labelling.answered_share"}
    if config.labelling.annotator == "oracle":
        operational |= {f"labelling.{name}" for name in ("repeat", "control", "holdout", "holdout_points")}
    fields = {
        name: value
        for name, value in fields.items()
        if name not in operational and not name.startswith("labelling.browser.")
    }
    files = {
        "model.weights": None if config.model.weights == "imagenet" else config.model.weights,
        "supervision.proportions": config.supervision.proportions_file,
        "supervision.coarse": config.supervision.coarse_file,
    }
    fields |= {name: f"sha256:{file_digest(Path(path))}" for name, path in files.items() if path is not None}
    return dict(sorted(fields.items()))


def digest(value: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a value's canonical JSON.

    Args:
        value: Anything that JSON can hold; the order of keys does not matter.

    Returns:
        12 hexadecimal digits.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flat(prefix: str, value: dict[str, Any]) -> dict[str, Any]:
    """Nested sections as dotted names."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(f"{prefix}.{name}", item) if isinstance(item, dict) else {f"{prefix}.{name}": item}
    return flat
