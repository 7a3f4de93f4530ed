"""What MLflow takes: names, lengths, and how many at once."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

LONGEST = {"param": 6000, "tag": 5000}
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100


def metric_name(name: str) -> str:
    """MLflow refuses most punctuation in metrics' names; class names are the user's."""
    return re.sub(r"[^\w.\- ]", "_", name)[:250]


def metric_names(names: Sequence[str]) -> list[str]:
    """Metrics' names as MLflow takes them; those that would be one have their place in the list behind them."""
    found = [metric_name(name) for name in names]
    return [name if found.count(name) == 1 else f"{name[:240]}_{place}" for place, name in enumerate(found)]


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested parameters as dotted names; text as it is, what else as JSON."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from flat(item, f"{prefix}{name}.")
        else:
            text = item if isinstance(item, str) else json.dumps(item, default=str, ensure_ascii=False)
            yield f"{prefix}{name}", short(text, "param")


def short(text: str, kind: Literal["param", "tag"]) -> str:
    """A text cut to what MLflow keeps."""
    limit = LONGEST[kind]
    return text if len(text) <= limit else text[: limit - 3] + "..."


def quoted(text: str) -> str:
    """A value in MLflow's filter language, which has no escapes."""
    if "'" in text and '"' in text:
        raise ValueError(f"expected at most one kind of quotes, got {text!r}")
    return f'"{text}"' if "'" in text else f"'{text}'"


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Parts of at most a size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
