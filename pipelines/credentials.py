"""What the driver alone may know: MLflow's credentials, kept from workers and out of all that is written.

A job's `env_vars` reach every worker of the job. So whatever is started remotely asks for :func:`worker_env`, and what
may name the tracking store goes through :func:`hidden` before anybody reads it.
"""

import os
import re
from typing import Any

_NAME = re.compile(r"(MLFLOW|DATABRICKS)_\w*(TOKEN|USERNAME|PASSWORD|SECRET)\w*")
_OURS = re.compile(r"(MLFLOW|DATABRICKS)_\w+")
_IN_ADDRESS = re.compile(r"(\w://[^\s/@:]*):[^\s/]+@")
"""`scheme://user:password@`; the password may hold an unescaped @."""

_SHORTEST = 4
"""Values shorter than this are not looked for in texts: they would be found everywhere."""


def worker_env() -> dict[str, Any] | None:
    """The `runtime_env` of everything that runs remotely: the driver's MLflow credentials, blank.

    Returns:
        None where the driver has none: another runtime_env costs processes of its own.
    """
    names = sorted(name for name, value in os.environ.items() if value and _is_secret(name, value))
    return {"env_vars": dict.fromkeys(names, "")} if names else None


def holds_password(address: str) -> bool:
    """Whether an address has the form `scheme://user:password@host`."""
    return _IN_ADDRESS.search(address) is not None


def anonymous(address: str) -> str:
    """An address without user and password."""
    return re.sub(r"(\w://)[^\s/]*@", r"\1", address)


def hidden(text: str) -> str:
    """A text with stars in place of passwords in addresses and of the values of MLflow's secret variables."""
    for name, value in os.environ.items():
        if _NAME.fullmatch(name) and "USERNAME" not in name and len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return _IN_ADDRESS.sub(r"\1:***@", text)


def _is_secret(name: str, value: str) -> bool:
    return bool(_NAME.fullmatch(name)) or bool(_OURS.fullmatch(name) and holds_password(value))
