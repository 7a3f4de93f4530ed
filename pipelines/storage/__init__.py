"""Where pools and runs lie: files named by short keys, which appear whole or not at all.

Callers speak in keys (``runs/demo/run.json``) and never in paths: a folder and a bucket on S3 keep the same promises.
"""

import os
from pathlib import Path

from pipelines.storage.folder import Folder
from pipelines.storage.kind import Storage
from pipelines.storage.tables import TableWriter
from weakseg.errors import ResourceError

__all__ = ["Folder", "Storage", "TableWriter", "open_storage"]


def open_storage(root: str | os.PathLike[str]) -> Storage:
    """The storage under a root; nothing is made or asked yet.

    Args:
        root: ``s3://bucket/prefix``, or a folder, made at the first write; ``~`` is the home folder, a relative one
            counts from the current one.

    Returns:
        A small, picklable object.

    Raises:
        ResourceError: If the root is neither.
    """
    text = os.fspath(root)
    if text.startswith("s3://"):
        # Here, because boto3 takes half a second to import and a folder does without it.
        from pipelines.s3 import Address
        from pipelines.storage.bucket import Bucket

        return Bucket(Address.parse(text))
    if "://" in text:
        scheme = text.split("://", 1)[0]
        raise ResourceError(f"storage.root: {scheme}:// is not known; name a folder or s3://bucket/prefix")
    path = Path(text).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ResourceError(f"storage.root is {path}, which is not a folder; name a folder")
    return Folder(str(path))
