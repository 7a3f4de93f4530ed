"""A data set that lies in no folder: the files of a zip archive, listed in order."""

import errno
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    name: str
    folder: bool

    def is_dir(self):
        return self.folder


@dataclass(frozen=True)
class Archive:
    """`weakseg.datasets.Files` over a zip archive."""

    root: str
    ordered: bool = True

    def entries(self, folder):
        prefix = f"{folder}/" if folder else ""
        rest = [name[len(prefix) :] for name in self._names() if name.startswith(prefix) and name != prefix]
        if folder and not rest:
            raise missing(folder)
        found = {Entry(name.partition("/")[0], "/" in name) for name in rest}
        return iter(sorted(found))

    def is_file(self, path):
        return path in self._names()

    def is_folder(self, path):
        return any(name.startswith(f"{path}/") for name in self._names())

    def size(self, path):
        return self._stored(lambda archive: archive.getinfo(path).file_size, path)

    def version(self, path):
        return 0

    def read(self, path):
        return self._stored(lambda archive: archive.read(path), path)

    def open(self, path):
        return self._stored(lambda archive: archive.open(path), path)

    def _names(self):
        with zipfile.ZipFile(self.root) as archive:
            return sorted(archive.namelist())

    def _stored(self, get, path):
        with zipfile.ZipFile(self.root) as archive:
            try:
                return get(archive)
            except KeyError:
                raise missing(path) from None


def archive(folder: Path) -> Archive:
    """Pack a folder, empty sub-folders too, into an archive beside it, and delete it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(folder))
            if file.is_file():
                file.unlink()
    return Archive(str(path))


def missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
