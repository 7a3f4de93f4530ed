"""One uninterrupted tiny run per session, which many tests look at."""

from pathlib import Path
from typing import Any

import pytest
import tiny


@pytest.fixture(scope="session")
def finished_run(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished tiny run: its storage root and what the command returned."""
    root = tmp_path_factory.mktemp("finished")
    return root, tiny.run("active", root, address=ray_session)
