"""Whether a bucket can hold weakseg's files, found out by doing all that is done with it."""

import secrets

from pipelines import s3
from pipelines.s3_refusals import one_line, refusals
from pipelines.storage import objects
from weakseg.errors import ResourceError

ATTEMPTS = 4
"""Who waits for a typing error to be told should not wait for minutes."""


def reach(at: s3.Address, what: str) -> None:
    """Ask for one name, which tells what most often is wrong: the address, the network, the credentials.

    Args:
        at: The storage's root.
        what: The setting and its address, for errors.

    Raises:
        ResourceError: If S3 refuses or does not answer.
    """
    with refusals(what):
        prefix = f"{at.prefix}/" if at.prefix else ""
        s3.client(attempts=ATTEMPTS).list_objects_v2(Bucket=at.bucket, Prefix=prefix, MaxKeys=1)


def check(at: s3.Address, what: str) -> None:
    """List, write, read, also as Ray does, write under a condition, delete and look for unfinished uploads.

    Args:
        at: The storage's root.
        what: The setting and its address, for errors.

    Raises:
        ResourceError: If S3 refuses something, or does not know puts under a condition.
    """
    reach(at, what)
    probe = at.key(f"probe-{secrets.token_hex(4)}")
    client = s3.client(attempts=ATTEMPTS)
    with refusals(what):
        client.put_object(Bucket=at.bucket, Key=probe, Body=b"weakseg")
        s3.read(at.bucket, probe)
        unseen = _unseen(f"{at.bucket}/{probe}")
        conditions = {"If-None-Match": {"IfNoneMatch": "*"}, "If-Match": {"IfMatch": f'"{"0" * 32}"'}}
        ignored = [
            name
            for name, condition in conditions.items()
            if objects.put(at.bucket, probe, b"again", **condition) is not None
        ]
        client.delete_object(Bucket=at.bucket, Key=probe)
        client.list_multipart_uploads(Bucket=at.bucket, Prefix=probe, MaxUploads=1)
    if unseen:
        raise ResourceError(
            f"{what}: Arrow, and so Ray, does not find what was written there ({unseen}); set AWS_ENDPOINT_URL_S3, "
            "AWS_REGION and credentials that it knows too: a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if ignored:
        raise ResourceError(
            f"{what}: this server ignores puts under a condition ({', '.join(ignored)}), "
            "without which two drivers could write one run; use AWS S3 or a server that knows them"
        )


def _unseen(path: str) -> str:
    """Why an object is not there by way of Arrow, which has its own ideas of endpoint and credentials."""
    try:
        return "" if s3.filesystem(attempts=ATTEMPTS).get_file_info(path).is_file else "there is none"
    except OSError as error:
        return one_line(error)
