"""Files on a local disk, made so that a crash at any moment leaves them whole: what `storage` is built of."""

import errno
import fcntl
import os
import secrets
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from weakseg.errors import ResourceError

TEMPORARY = ".tmp"
"""End of the names of files not yet renamed: never listed, swept when their writer is dead."""

_locks: "weakref.WeakSet[Lock]" = weakref.WeakSet()


class Lock:
    """A lock held by this process until released or until the process ends, however it ends.

    Children made by fork do not inherit it.

    Args:
        descriptor: An open file, which the lock closes in the end.
        wait: Whether to wait for another holder instead of failing.

    Raises:
        BlockingIOError: If another holds it and `wait` is false.
        OSError: If the file system cannot lock.
    """

    def __init__(self, descriptor: int, *, wait: bool = False) -> None:
        """Take the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor: int | None = descriptor
        _locks.add(self)

    def release(self) -> None:
        """Let others take the lock; a second call does nothing."""
        if self._descriptor is not None:
            # Closing the only descriptor releases the lock.
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Hold the lock for a block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Release it."""
        self.release()


def _release_inherited() -> None:
    # A forked child holding the descriptor would keep the lock alive after its parent's death.
    for lock in list(_locks):
        lock.release()


os.register_at_fork(after_in_child=_release_inherited)


@contextmanager
def refusing(root: str, key: str) -> Iterator[None]:
    """Turn the operating system's refusals to write into the one error that a user can act on.

    Args:
        root: The storage's.
        key: What was to be written.

    Raises:
        ResourceError: For any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"cannot write {key or 'below the root'} in storage {root}: {reason(error)}; "
            "free space or permit writing there, or choose another folder with --set storage.root=FOLDER"
        ) from error


@contextmanager
def making(what: str, folder: str = "") -> Iterator[None]:
    """Turn refusals of the disk on which files for elsewhere are made into the one error that a user can act on.

    Args:
        what: What was to be written.
        folder: Where; empty = it is the folder that could not be made.

    Raises:
        ResourceError: For any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        place = folder or os.environ.get("TMPDIR", "/tmp")
        raise ResourceError(f"{place}: {what} cannot be written ({error}): make room there, or set TMPDIR") from error


def temporary_folder(prefix: str, what: str) -> "tempfile.TemporaryDirectory[str]":
    """A folder on this machine's disk until nothing refers to it; raises as :func:`making`."""
    with making(what):
        return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


def reason(error: OSError) -> str:
    """Why the operating system refuses, in words."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "no space left"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "permission denied"
        case _:
            return error.strerror or str(error)


def beside(path: Path) -> Path:
    """A name for a file in the making: in the same folder, because a rename across file systems would be a copy."""
    make_folder(path.parent)
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    flush(path.parent)


def link(root: str, file: Path, path: Path) -> bool:
    """Give a file a second name unless that is taken: a hard link, unlike a rename, fails then.

    Args:
        root: The storage's.
        file: The file.
        path: Its second name.

    Returns:
        Whether it was free.

    Raises:
        ResourceError: If the file system has no hard links.
    """
    try:
        os.link(file, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise ResourceError(
            f"storage {root} cannot make hard links ({reason(error)}), without which two drivers could make one file; "
            "choose a folder on a file system that can, with --set storage.root=FOLDER"
        ) from error
    return True


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
