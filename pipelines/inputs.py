"""The images that `predict` is given: every image file below a folder, on this machine or in a bucket."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from pipelines.data_files import open_files
from weakseg.datasets import Files, LocalFiles
from weakseg.datasets.layout import IMAGE_SUFFIXES, claimed_twice, stem, suffix
from weakseg.errors import DataError

_BATCH = 65_536


def open_inputs(place: str) -> Files:
    """The files of an input folder.

    Args:
        place: A folder or an s3:// address.

    Raises:
        DataError: There is no such folder.
        ResourceError: The address cannot be read.
    """
    bucket = open_files(place, setting="--input")
    if bucket is not None:
        return bucket
    # Actors may work in another folder than this process.
    folder = Path(place).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"--input: no such folder: {place}")
    return LocalFiles(str(folder))


def image_names(files: Files) -> pa.ChunkedArray:
    """Names of all images below the folder, relative to it; as an Arrow array, since there may be millions.

    Hidden files and folders, and files without an image's extension, are passed over.

    Args:
        files: The folder.

    Returns:
        Posix paths, a folder's images before those of its sub-folders, each sorted.

    Raises:
        DataError: It cannot be listed, or two images would have one mask (a.jpg and a.png).
    """
    batches = []
    names = _below(files, "")
    while batch := list(islice(names, _BATCH)):
        batches.append(pa.array(batch, pa.string()))
    found = pa.chunked_array(batches, pa.string())
    twice = claimed_twice(lambda: ((stem(name.as_py()), name.as_py()) for chunk in found.chunks for name in chunk))
    if twice:
        raise DataError(
            f"{files.root}: {twice[1]} and {twice[2]} would both become {twice[0]}.png: rename or remove one"
        )
    return found


def _below(files: Files, folder: str) -> Iterator[str]:
    images: list[str] = []
    folders: list[str] = []
    try:
        for entry in files.entries(folder):
            if entry.name.startswith("."):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                folders.append(name)
            elif suffix(name) in IMAGE_SUFFIXES:
                images.append(name)
    except OSError as error:
        where = f"{files.root}/{folder}" if folder else files.root
        raise DataError(f"{where} cannot be listed ({error.strerror or error}): check its permissions") from error
    for name in images + folders:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{files.root}: the name {name!r} is not UTF-8: rename it") from error
    yield from sorted(images)
    for name in sorted(folders):
        yield from _below(files, name)
