"""Pages in place of the real ones."""

from pathlib import Path

import pytest

from pipelines.annotation import static_files


@pytest.fixture(autouse=True)
def static(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few files instead of the real pages."""
    folder = tmp_path_factory.mktemp("static")
    for name in ("enter", "signin", "pixels", "proportions", "coarse", "review"):
        (folder / f"{name}.html").write_text(f"<!doctype html><title>{name}</title>")
    (folder / "page.js").write_text("0;")
    (folder.parent / "outside.html").write_text("secret")
    monkeypatch.setattr(static_files, "STATIC", folder)
    return folder
