"""What many tests look at: one uninterrupted tiny run, and one pool of windows with all they were made of."""

from pathlib import Path
from typing import Any

import pytest
import tiny
from layouts import write_folder
from pools import make_pool

from pipelines import chunks
from pipelines.pool import Pool
from weakseg.datasets import Record, open_layout, records


@pytest.fixture(scope="session")
def finished_run(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished tiny run: its storage root and what the command returned."""
    root = tmp_path_factory.mktemp("finished")
    return root, tiny.run("active", root, address=ray_session)


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, list[Record]]:
    """A pool of windows whose parts have several row groups of 4, and the records it was made of."""
    folder = tmp_path_factory.mktemp("pool")
    layout = open_layout("folder", str(write_folder(folder / "data", images=13, nested=True)), seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "ROW_GROUP", 4)
        patch.setattr("pipelines.manifest.ROW_GROUP", 4)
        pool = make_pool(layout, folder / "root", tile=(15, 20), segments=6)
    return pool, [record for source in layout.sources() for record in records(layout, source, tile=(15, 20))]
