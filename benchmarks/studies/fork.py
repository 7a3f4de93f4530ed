"""Two runs that differ only in how they ask share round 0, which asks at random: the second takes it from the first."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.ledger.identity import new_record
from pipelines.versions import versions

FREE = frozenset(
    {"labelling.acquisition", "labelling.committee", "labelling.committee.passes", "labelling.committee.vote"}
)
"""Of a run's identity, what may differ: round 0 does not read it."""

ARTEFACTS = (
    "queries.parquet",
    "labels.parquet",
    "train/history.json",
    "model.json",
    "model.safetensors",
    "statistics.json",
    "metrics.json",
)
"""Of round 0, all that does not depend on it. Not `scored.parquet`, which does, and not `_SUCCESS`: the driver of the
second run goes through the round itself, finds these, and enters the round in its own books."""


def fork(root: Path, source: str, target: str, identity: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Give a new run the round 0 of another.

    Args:
        root: The storage of both.
        source: The run that has one.
        target: The run that has nothing yet.
        identity: The target's, by dotted field.
        config: All its settings, nested by section.

    Returns:
        Whether it was done. Not where the target has begun, where the source lacks something, or where they differ in
        more than :data:`FREE`: the target then makes its own round 0, which is the same.
    """
    runs = root / "runs"
    rounds, record = runs / source / "rounds" / "000", runs / source / "run.json"
    if (runs / target).exists() or not record.exists() or not all((rounds / name).exists() for name in ARTEFACTS):
        return False
    recorded = json.loads(record.read_text())["identity"]
    if set(differing(recorded, identity)) - FREE:
        return False
    partial = root / "forks" / target
    shutil.rmtree(partial, ignore_errors=True)
    for name in ARTEFACTS:
        copy = partial / "rounds" / "000" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(rounds / name, copy)
    fresh = new_record(target, identity=identity, config=config, versions=versions())
    (partial / "run.json").write_text(json.dumps(fresh, indent=1))
    partial.rename(runs / target)  # whole or not at all
    return True


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Sequence[str]:
    """The fields in which two identities differ, one that only one of them has included."""
    one, other = json.loads(json.dumps([one, other]))  # tuples and lists are the same there
    missing = object()
    return sorted(name for name in {*one, *other} if one.get(name, missing) != other.get(name, missing))
