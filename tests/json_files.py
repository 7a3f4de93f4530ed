"""A ledger's JSON files, in memory."""

import json
from typing import Any


class JsonFiles:
    """What a sweep's search and rungs ask of a ledger.

    Args:
        once: Whether no file may be written a second time.
    """

    def __init__(self, *, once: bool = False) -> None:
        self.kept: dict[str, str] = {}
        self._once = once

    def exists(self, key: str) -> bool:
        return key in self.kept

    def read_json(self, key: str) -> Any:
        return json.loads(self.kept[key])

    def write_json(self, key: str, value: Any) -> None:
        assert not (self._once and key in self.kept)
        self.kept[key] = json.dumps(value)
