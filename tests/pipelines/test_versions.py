"""Which code made a run."""

import subprocess
from pathlib import Path

import pytest

from pipelines import versions


def test_names_python_and_every_package() -> None:
    found = versions.versions()
    assert set(found) == {"python", "weakseg", *versions.PACKAGES}
    assert all(found.values())


def test_git_sha_is_none_outside_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "pipelines" / "versions.py"))
    assert versions.git_sha() is None


def test_git_sha_says_what_is_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "one")
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "pipelines" / "versions.py"))
    clean = versions.git_sha()
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "file").write_text("two")
    assert versions.git_sha() == f"{clean}-dirty"
