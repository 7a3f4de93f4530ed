"""One side of a comparison, in a process of its own: `python -m benchmarks.engine.child MODULE:FUNCTION OPTIONS`.

The function is a context manager that prepares the side and gives its work: a function of the size. Sizes come in on
standard input, one per line; what the work returns goes out on standard output, one JSON line each. Whatever else is
printed, by engines and their children too, goes to standard error.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Prepare, say so, then work until there is no more input."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    options: dict[str, Any] = json.loads(sys.argv[2])
    with getattr(importlib.import_module(module), name)(**options) as work:
        replies.write(json.dumps({"ready": True}) + "\n")
        for line in sys.stdin:
            replies.write(json.dumps(work(int(line))) + "\n")


if __name__ == "__main__":
    main()
