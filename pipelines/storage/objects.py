"""Objects on S3 as files: put under a condition, read in ranges, sent whole or not at all."""

import io
import secrets
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from pipelines import s3
from pipelines.s3_refusals import code, refusals

WRITER = "weakseg-writer"
"""Metadata that names the write: by it a writer whose reply was lost knows its own work."""

SINGLE_PUT = 64 * 2**20
"""Bytes up to which a file is one request; above it in parts, which appear together or not at all."""

TAIL = 64 * 2**10
"""Bytes at the end of an object read first: a Parquet file's footer, or a small file as a whole."""

_PARTS = TransferConfig(multipart_threshold=SINGLE_PUT, multipart_chunksize=SINGLE_PUT, max_concurrency=4)


def put(bucket: str, key: str, body: bytes, **condition: str) -> str | None:
    """Put an object if a condition holds, and know for sure whether this call did it.

    A reply may be lost after the server did as it was told: the request is then made again and refused (412). Whose
    object is there, its metadata tells.

    Args:
        bucket: The bucket.
        key: The object.
        body: Its content.
        condition: ``IfNoneMatch="*"`` = only if there is none, ``IfMatch=etag`` = only if it is still that one.

    Returns:
        The new object's etag, None if the condition does not hold.
    """
    writer = secrets.token_hex(16)
    for attempt in range(s3.ATTEMPTS):
        try:
            reply = s3.client().put_object(Bucket=bucket, Key=key, Body=body, Metadata={WRITER: writer}, **condition)
            return str(reply["ETag"])
        except ClientError as error:
            match code(error):
                case "PreconditionFailed" | "412":
                    there = _head(bucket, key)
                    if there is not None and there["Metadata"].get(WRITER) == writer:
                        return str(there["ETag"])
                    if there is not None or "IfMatch" in condition:
                        return None
                    # It was there and is no more: its owner has just let go.
                case "NoSuchKey" | "404" if "IfMatch" in condition:
                    return None
                case "ConditionalRequestConflict" | "OperationAborted" | "409" if attempt < s3.ATTEMPTS - 1:
                    pass
                case _:
                    raise
            s3.back_off(attempt)
    return None


def exists(bucket: str, key: str) -> bool:
    """Whether there is an object of exactly this key."""
    return _head(bucket, key) is not None


def send(bucket: str, key: str, file: Path) -> None:
    """Put a local file, replacing what was there: whole or not at all.

    Args:
        bucket: The bucket.
        key: The object.
        file: The file.
    """
    if file.stat().st_size <= SINGLE_PUT:
        with file.open("rb") as body:
            s3.client().put_object(Bucket=bucket, Key=key, Body=body)
        return
    writer = secrets.token_hex(16)
    try:
        s3.client().upload_file(str(file), bucket, key, ExtraArgs={"Metadata": {WRITER: writer}}, Config=_PARTS)
    except S3UploadFailedError as error:
        refused = error.__context__
        if not isinstance(refused, ClientError):
            raise
        # The last request was done, its reply lost, and done again: there is no such upload any more.
        there = _head(bucket, key) if code(refused) == "NoSuchUpload" else None
        if there is None or there["Metadata"].get(WRITER) != writer:
            raise refused from None


def receive(bucket: str, key: str, file: Path) -> None:
    """Copy an object into a local file."""
    s3.client().download_file(bucket, key, str(file), Config=_PARTS)


def delete(bucket: str, keys: list[str]) -> None:
    """Delete objects, at most 1000; those that are not there are fine.

    Raises:
        ClientError: The first that could not be deleted.
    """
    for attempt in range(s3.ATTEMPTS):
        named = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        failed = s3.client().delete_objects(Bucket=bucket, Delete=named).get("Errors", [])
        if not failed:
            return
        if attempt == s3.ATTEMPTS - 1 or failed[0]["Code"] not in ("InternalError", "SlowDown", "ServiceUnavailable"):
            raise ClientError({"Error": failed[0]}, "DeleteObjects")
        keys = [entry["Key"] for entry in failed]
        s3.back_off(attempt)


def abort_uploads(bucket: str, prefix: str) -> int:
    """Abort uploads in parts that were never ended.

    Args:
        bucket: The bucket.
        prefix: What their keys begin with.

    Returns:
        How many there were.
    """
    listings = s3.client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    found = [upload for listing in listings for upload in listing.get("Uploads", [])]
    for upload in found:
        try:
            s3.client().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        except ClientError as error:
            if code(error) != "NoSuchUpload":  # it ended meanwhile
                raise
    return len(found)


class RangeFile(io.RawIOBase):
    """An object read in ranges, always of the same version; the process holds its tail and no more.

    Not Arrow's own file system: its threads do not live in forked loader workers, and its retries cannot be seen.

    Args:
        bucket: The bucket.
        key: The object.
        what: The setting and its address, for errors.

    Raises:
        FileNotFoundError: If there is no such object.
    """

    def __init__(self, bucket: str, key: str, what: str) -> None:
        """Read the tail."""
        super().__init__()
        self._bucket, self._key, self._what, self._at = bucket, key, what, 0
        with refusals(what):
            try:
                reply = s3.fetch(bucket, key, Range=f"bytes=-{TAIL}")
            except ClientError as error:
                # An empty object has no range at all.
                if code(error) != "InvalidRange":
                    raise
                reply = s3.fetch(bucket, key)
        self._tail: bytes = reply["Body"]
        self._size = int(reply["ContentRange"].rpartition("/")[2]) if "ContentRange" in reply else len(self._tail)
        self._version = reply["ETag"]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes from the position, all by default; fewer at the end.

        Raises:
            ResourceError: If S3 refuses, or the object was replaced meanwhile.
        """
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, max(self._at, end)
        if start >= end:
            return b""
        held = self._size - len(self._tail)
        if start >= held:
            return self._tail[start - held : end - held]
        with refusals(self._what):
            reply = s3.fetch(self._bucket, self._key, Range=f"bytes={start}-{end - 1}", IfMatch=self._version)
        return bytes(reply["Body"])


def _head(bucket: str, key: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = s3.client().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if code(error) in ("404", "NoSuchKey"):
            return None
        raise
    return found
