"""What a run's name stands for: `run.json`, and what may change in it from one start to the next."""

import datetime
import json
import secrets
from collections.abc import Mapping
from typing import Any

from weakseg.errors import LedgerError

_GROWING = "labelling.rounds"


def new_record(
    run: str,
    *,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The first `run.json` of a run.

    Args:
        run: Its name.
        identity: The settings that decide its result, by dotted field name.
        config: All settings, nested by section.
        versions: Of the libraries at work, by name.

    Returns:
        JSON-able; `id` is unique to this run, also among runs of one name in several storages.
    """
    return {
        "run": run,
        "id": f"{run}-{secrets.token_hex(6)}",
        "created": _now(),
        "identity": _plain(identity),
        "config": _plain(config),
        "versions": _plain(versions),
        "amendments": [],
    }


def reopened(
    record: Mapping[str, Any],
    *,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The `run.json` of a run that is started again: the same identity, with what else has changed written down.

    Args:
        record: The one there is.
        identity: As now configured.
        config: As now configured.
        versions: As now installed.

    Returns:
        The record, with one amendment (`at`, `field`, `old`, `new`) per changed setting or version.

    Raises:
        LedgerError: If the identity differs, or `labelling.rounds` would shrink; the text names fields and values.
    """
    run = record["run"]
    changed = differences(record["identity"], _plain(identity))
    if changed:
        fields = "\n".join(f"  {field}: was {_show(old)}, now {_show(new)}" for field, old, new in changed)
        raise LedgerError(
            f"run {run} was started with other settings:\n{fields}\n"
            f"Choose another name with --set run=NAME, or restore the field{'s' if len(changed) > 1 else ''}"
        )
    amendments = list(record["amendments"])
    at = _now()
    for field, old, new in differences(record["config"], _plain(config)):
        if field == _GROWING and isinstance(old, int) and isinstance(new, int) and new < old:
            raise LedgerError(
                f"run {run}: {_GROWING} may only grow: was {old}, now {new}. "
                f"Choose another name with --set run=NAME, or set {_GROWING} to {old} or more"
            )
        amendments.append({"at": at, "field": field, "old": old, "new": new})
    for field, old, new in differences(record["versions"], _plain(versions)):
        amendments.append({"at": at, "field": f"versions.{field}", "old": old, "new": new})
    return {**record, "config": _plain(config), "versions": _plain(versions), "amendments": amendments}


def rounds_of(record: Mapping[str, Any]) -> int:
    """How many rounds a run is to have."""
    return int(record["config"]["labelling"]["rounds"])


def with_rounds(config: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """Settings, nested by section, with another number of rounds."""
    return {**config, "labelling": {**config["labelling"], "rounds": rounds}}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """The leaves in which two nested settings differ, as (dotted field, old, new); None where one has no such field."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        before, after, field = old.get(name), new.get(name), f"{prefix}{name}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, prefix=f"{field}.")
        elif before != after:
            found.append((field, before, after))
    return found


def _plain(value: Mapping[str, Any]) -> Any:
    """As it will be read back: tuples become lists, so that a record equals itself after a round trip."""
    return json.loads(json.dumps(value))


def _show(value: Any) -> str:
    return "absent" if value is None else json.dumps(value)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
