"""Who may come in: tokens and cookies made from one secret, opaque names for images and questions, host names.

Nothing is stored but the secret, which lies with the run, in its folder or in its bucket: links, cookies and the names
of questions outlive a restart, on S3 on another machine too, and deleting the file ends them all.
"""

import getpass
import hashlib
import hmac
import os
import re
import secrets
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.config.hosts import loopback
from pipelines.storage import Storage
from weakseg.errors import WeaksegError

ANNOTATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Secret:
    """Makes and checks what only this server can make.

    Args:
        key: 32 random bytes.
    """

    key: bytes

    @classmethod
    def kept(cls, path: Path) -> "Secret":
        """The secret of a file that only its owner can read; made where there is none.

        Raises:
            WeaksegError: The file is something else, or others can read it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            key = path.read_bytes()
            if len(key) != 32 or path.stat().st_mode & 0o077:
                raise WeaksegError(
                    f"{path} is cut short, or others can read it: delete it, and new links are made"
                ) from None
            return cls(key)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key := secrets.token_bytes(32))
        return cls(key)

    @classmethod
    def stored(cls, storage: Storage, key: str) -> "Secret":
        """The secret of a run in a bucket, the same for all machines; made where there is none.

        Whoever may read it there may come in as anybody, and may read the answers and write them anyway.

        Args:
            storage: Where the run lies.
            key: The secret's file.

        Raises:
            WeaksegError: The file is something else.
        """
        storage.create_once(key, secrets.token_bytes(32))
        found = storage.read_bytes(key)
        if len(found) != 32:
            raise WeaksegError(f"{storage.address(key)} is cut short: delete it, and new links are made")
        return cls(found)

    def mac(self, purpose: str, text: str, *, digits: int = 43) -> str:
        """A text's seal for a purpose, URL-safe."""
        made = hmac.new(self.key, f"{purpose}\x1f{text}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(made).decode().rstrip("=")[:digits]

    def token(self, annotator: str) -> str:
        """What the annotator's link holds."""
        return f"{annotator}~{self.mac('token', annotator)}"

    def session(self, annotator: str) -> str:
        """What the annotator's cookie holds."""
        return f"{annotator}~{self.mac('session', annotator)}"

    def who(self, purpose: str, text: str, annotators: Iterable[str]) -> str | None:
        """Whose token or session (``purpose``) a text is; None if nobody's."""
        found = None
        for annotator in annotators:  # all of them, whichever it is: the time tells nothing
            if hmac.compare_digest(f"{annotator}~{self.mac(purpose, annotator)}".encode(), text.encode()):
                found = annotator
        return found

    def handle(self, purpose: str, *numbers: int) -> str:
        """An opaque name that cannot be guessed or made up: the numbers with a seal."""
        text = "-".join(map(str, numbers))
        return f"{text}-{self.mac(purpose, text, digits=16)}"

    def numbers(self, purpose: str, handle: str) -> tuple[int, ...] | None:
        """The numbers of a handle, None if it is not one of this server's."""
        if not re.fullmatch(r"[0-9]{1,12}(-[0-9]{1,12})*-[A-Za-z0-9_-]{16}", handle):
            return None
        text, seal = handle[:-17], handle[-16:]
        if not hmac.compare_digest(self.mac(purpose, text, digits=16).encode(), seal.encode()):
            return None
        return tuple(map(int, text.split("-")))


def login() -> str:
    """The name of who is logged in, as an annotator's."""
    try:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", getpass.getuser()).lstrip("._-")[:40]
    except (OSError, KeyError):
        name = ""
    return name or "annotator"


def host_names(host: str, extra: Sequence[str]) -> frozenset[str]:
    """The names in a Host header that mean this server; anything else is a page that was rebound to its address.

    Args:
        host: The address it listens at.
        extra: Further names that its owner gives it.
    """
    names = {"localhost", "127.0.0.1", "::1", host.lower(), *(name.lower() for name in extra)}
    if not loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names - {"", "0.0.0.0", "::"})


def host_of(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


class RateLimit:
    """At most so many events a second from each of a few names.

    Args:
        rate: Events per second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._times: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def wait(self, name: str, events: int = 1, *, now: float | None = None) -> float:
        """Count events; the seconds to wait if they are too many, which are then not counted.

        A call of more events than a second allows is let through at the price of the time that they take.
        """
        moment = time.monotonic() if now is None else now
        with self._lock:  # requests are served by several threads
            times = self._times[name]
            while times and times[0] <= moment - 1.0:
                times.popleft()
            # Times in the future are events of a large batch, spread over the seconds that they use up.
            if times and len(times) + min(events, self._rate) > self._rate:
                return max(0.01, times[0] + 1.0 - moment)
            times.extend(moment + number // self._rate for number in range(events))
            return 0.0
