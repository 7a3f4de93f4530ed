"""S3: addresses, the client, Arrow's file system, and reading whatever breaks off.

Endpoint, region and credentials come from where all AWS tools find them: AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL),
AWS_REGION, AWS_ACCESS_KEY_ID, a profile, the role of the machine. None of them is ever part of a configuration.

Throttling, 5xx, resets and stalls are tried again with back-off before anyone hears of them; see :data:`ATTEMPTS`.
"""

import os
import random
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from pyarrow import fs as arrow_fs
from urllib3.exceptions import HTTPError

from pipelines.s3_refusals import code, one_line, refusals, without_credentials
from weakseg.errors import ResourceError

SCHEME = "s3://"
ATTEMPTS = 10
"""How often a request is made before its failure counts: in half a minute to two of back-off a server comes back."""

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
"""A stall of some seconds passes; a connection that is dead is given up before people notice."""

_BROKEN = (
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    boto.ConnectionError,
    HTTPError,
    OSError,
)
"""What can befall the body of a reply: botocore repeats a request, but not the reading of what came back."""

_lock = threading.Lock()
_clients: dict[tuple[Any, ...], Any] = {}


@dataclass(frozen=True)
class Address:
    """A bucket and what all keys in it begin with.

    Args:
        bucket: The bucket's name.
        prefix: Without slashes at its ends; empty = the whole bucket.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address in ``s3://bucket/prefix``.

        Raises:
            ResourceError: If it is none, or holds credentials (which are not repeated).
        """
        if not is_s3(text):
            raise ResourceError(f"{text} is no address on S3; expected s3://bucket/prefix")
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        if "@" in bucket or ":" in bucket:
            raise ResourceError(
                "an s3:// address holds no credentials and no port; "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role, and AWS_ENDPOINT_URL_S3"
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
            raise ResourceError(f"{text}: {bucket!r} is no bucket's name; expected s3://bucket/prefix")
        return cls(bucket, _checked(prefix.strip("/"), text))

    def key(self, relative: str = "") -> str:
        """The object key of a key below the prefix; empty = the prefix itself.

        Raises:
            ValueError: If the key is absolute or climbs with ``..``.
        """
        parts = [part for part in relative.split("/") if part not in ("", ".")]
        if relative.startswith("/") or ".." in parts or "\\" in relative or "\0" in relative:
            raise ValueError(f"storage key {relative!r} would leave the root: keys are relative, without '..'")
        return "/".join([self.prefix, *parts] if self.prefix else parts)

    def relative(self, key: str) -> str:
        """The key below the prefix of an object key (the inverse of :meth:`key`)."""
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``."""
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


def is_s3(text: str | os.PathLike[str]) -> bool:
    """Whether a text is an address on S3 and not a path."""
    return os.fspath(text).startswith(SCHEME)


def client(*, attempts: int = ATTEMPTS) -> Any:
    """The boto3 client of this process, which any of its threads may use; a forked child gets its own.

    Args:
        attempts: How often a request is made before its failure counts.

    Raises:
        ResourceError: If the environment names an endpoint or a profile that cannot be.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    named = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN")
    made_of = (os.getpid(), attempts, endpoint, *(os.environ.get(name) for name in named))
    with _lock:
        if made_of not in _clients:
            with refusals("S3"):
                _clients[made_of] = _client(endpoint, attempts)
        return _clients[made_of]


def _client(endpoint: str | None, attempts: int) -> Any:
    config = Config(
        # Not "adaptive": it slows all of a process down for long after one refusal.
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=32,
        tcp_keepalive=True,
        # A server of one's own rarely has a host name per bucket.
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    # boto3 itself reads AWS_DEFAULT_REGION only.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    try:
        made = session.client("s3", endpoint_url=endpoint, config=config)
    except ValueError as error:
        raise ResourceError(f"S3: {without_credentials(one_line(error))}; set AWS_ENDPOINT_URL_S3 right") from error
    if urlsplit(made.meta.endpoint_url).path.strip("/"):
        raise ResourceError(
            f"S3: the endpoint {without_credentials(made.meta.endpoint_url)} has a path, which Ray cannot ask; "
            "set AWS_ENDPOINT_URL_S3 to one without"
        )
    return made


def filesystem(*, attempts: int = ATTEMPTS) -> arrow_fs.S3FileSystem:
    """Arrow's file system of the same endpoint and region, for what Ray reads and writes; it takes ``bucket/key``.

    It is picklable and holds no credentials: each process finds its own. Not for forked children, in which the
    threads behind it are gone.

    Args:
        attempts: How often a request is made before its failure counts.
    """
    meta = client().meta
    url = urlsplit(meta.endpoint_url)
    region = meta.region_name if meta.region_name not in (None, "aws-global") else "us-east-1"
    # Arrow finds these by itself, and then names the bucket in the host; any other it has to be told.
    standard = ("s3.amazonaws.com", f"s3.{region}.amazonaws.com", f"s3.{region}.amazonaws.com.cn")
    return arrow_fs.S3FileSystem(
        endpoint_override=None if url.netloc in standard else url.netloc,
        scheme=url.scheme,
        region=region,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=READ_SECONDS,
        retry_strategy=arrow_fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        # A small file is then one put, which may be repeated. The end of an upload in parts may not: if the reply to it
        # is lost, the second try finds no upload, and Ray's own small files (Train's list of checkpoints) would fail a
        # run.
        allow_delayed_open=True,
    )


def read(bucket: str, key: str) -> bytes:
    """An object's bytes, whole; what breaks off is asked for again.

    Raises:
        FileNotFoundError: If there is none.
    """
    return fetch(bucket, key)["Body"]


def fetch(bucket: str, key: str, **options: Any) -> dict[str, Any]:
    """What `get_object` answers, with the body as bytes.

    Args:
        bucket: The bucket.
        key: The object.
        options: Of `get_object`: Range, IfMatch.

    Raises:
        FileNotFoundError: If there is none.
    """
    for attempt in range(ATTEMPTS):
        try:
            reply = client().get_object(Bucket=bucket, Key=key, **options)
        except boto.ClientError as error:
            if code(error) in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{SCHEME}{bucket}/{key}") from None
            raise
        except HTTPError:  # a refusal whose text broke off; all else botocore repeats itself
            if attempt == ATTEMPTS - 1:
                raise
            back_off(attempt)
            continue
        try:
            return {**reply, "Body": reply["Body"].read()}
        except _BROKEN:
            if attempt == ATTEMPTS - 1:
                raise
            back_off(attempt)
    raise AssertionError


def pages(bucket: str, prefix: str = "", **options: Any) -> Iterator[dict[str, Any]]:
    """The replies of `list_objects_v2`, up to 1000 keys each, however many there are.

    Args:
        bucket: The bucket.
        prefix: What the keys begin with.
        options: Further ones of `list_objects_v2` (Delimiter, StartAfter, MaxKeys).
    """
    while True:
        page = client().list_objects_v2(Bucket=bucket, Prefix=prefix, **options)
        yield page
        if not page.get("IsTruncated"):
            return
        options["ContinuationToken"] = page["NextContinuationToken"]


def back_off(attempt: int) -> None:
    """Wait a random while, longer from one attempt (counted from 0) to the next, so that clients fall out of step."""
    time.sleep(random.uniform(0, min(20.0, 0.1 * 2**attempt)))


def _checked(prefix: str, text: str) -> str:
    if ".." in prefix.split("/") or "//" in prefix or "\\" in prefix or "\0" in prefix:
        raise ResourceError(f"{text}: a prefix on S3 has no '..', no empty part and no backslash")
    return prefix


def _forget() -> None:
    # A forked child would share its parent's connections, and a lock that a thread of the parent may have held.
    global _lock
    _lock = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_forget)
