"""The server of one run: its address, its links, its thread. The verb `annotate` and the driver both start it here."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from pipelines.annotation.answers import Answers
from pipelines.annotation.app import create_app
from pipelines.annotation.desk import Desk
from pipelines.annotation.mirror import Batches, InPlace
from pipelines.annotation.pictures import Pictures
from pipelines.annotation.security import Secret, host_names, login
from pipelines.annotation.views import Site
from pipelines.config import Config
from pipelines.config.hosts import loopback
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.storage import Storage, open_storage
from weakseg.errors import LedgerError, WeaksegError


def answers_folder(storage: Storage, ledger: Ledger) -> Path:
    """Where the database lies on this machine: in the run's folder, or a cache for a run on S3."""
    if storage.is_local:
        return Path(storage.address(ledger.key()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "weakseg" / ledger.id


def open_secret(ledger: Ledger) -> Secret:
    """The secret of a run, the same wherever its page is served."""
    name = "annotation.secret"
    if ledger.storage.is_local:
        return Secret.kept(answers_folder(ledger.storage, ledger) / name)
    return Secret.stored(ledger.storage, ledger.key(name))


def open_desk(config: Config, ledger: Ledger) -> Desk:
    """The desk of a run, without a server.

    Args:
        config: The run's configuration.
        ledger: The run, held or only read.
    """
    storage, browser = ledger.storage, config.labelling.browser
    mirror = InPlace() if storage.is_local else Batches(storage, ledger.key("answers"))
    answers = Answers(answers_folder(storage, ledger) / "answers.sqlite", mirror)
    return Desk(
        ledger,
        answers,
        people=named(config, ledger) or (login(),),
        lifetime=60 * browser.lease_minutes,
        share=config.labelling.answered_share,
    )


def named(config: Config, ledger: Ledger) -> tuple[str, ...]:
    """The annotators that are named, here or for the driver, who must count on the same ones; () where nobody is."""
    recorded = ledger.record["config"]["labelling"]["browser"]["annotators"]
    return tuple(dict.fromkeys(config.labelling.browser.annotators or recorded))


def open_site(config: Config, desk: Desk) -> Site:
    """What the application works with: the desk goes on where that of another machine stopped."""
    ledger, browser = desk.ledger, config.labelling.browser
    desk.resume()
    return Site(
        run=ledger.run,
        rounds=int(ledger.record["config"]["labelling"]["rounds"]),
        desk=desk,
        pictures=Pictures(ledger.pool),
        classes=ledger.pool.classes,
        secret=open_secret(ledger),
        annotators=desk.people,
        hosts=host_names(browser.host, browser.hosts),
    )


@dataclass(frozen=True)
class Served:
    """A server at work.

    Attributes:
        url: Where it is, such as http://127.0.0.1:8765.
        links: What each annotator opens, token included.
        thread: Ends with the server.
    """

    url: str
    links: dict[str, str]
    thread: threading.Thread


@contextmanager
def serving(site: Site, *, host: str, port: int) -> Iterator[Served]:
    """Serve a site in a thread while the block lasts.

    Args:
        site: What to serve.
        host: The address to listen at.
        port: The port; 0 takes any free one.

    Raises:
        WeaksegError: The address cannot be listened at.
    """
    listener = _listener(host, port)
    name = "127.0.0.1" if host == "localhost" else host
    if host in ("0.0.0.0", "::"):
        name = socket.getfqdn()
    url = f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(site),
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=256,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=2**15,
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), name="annotation page", daemon=True)
    thread.start()
    try:
        yield Served(url, {who: f"{url}/enter#{site.secret.token(who)}" for who in site.annotators}, thread)
    finally:
        # A stopped job has 3 s in all; what was not acknowledged by then is sent again by the page.
        server.should_exit = True
        thread.join(timeout=1)
        listener.close()


@contextmanager
def asking(config: Config, ledger: Ledger, console: Console) -> Iterator[Desk]:
    """The driver's desk, with the page beside it where the driver is to serve it.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        console: Where the links go.

    Raises:
        WeaksegError: The page cannot be served.
    """
    browser = config.labelling.browser
    desk = open_desk(config, ledger)
    if config.labelling.repeat and len(desk.people) == 1:
        console.line(
            f"{ledger.run}: labelling.repeat: nothing is asked twice of one annotator; name several with "
            "--set labelling.browser.annotators=[anna,ben]"
        )
    try:
        if not browser.serve:
            console.line(f"{ledger.run}: answers are waited for; serve the page with `weakseg annotate`")
            yield desk
            return
        with _alone(ledger), serving(open_site(config, desk), host=browser.host, port=browser.port) as served:
            say(served, ledger.run, console)
            yield desk
    finally:
        desk.answers.close()


def annotate(config: Config, console: Console) -> dict[str, Any]:
    """Serve the page of a run until it is interrupted: the verb `annotate`.

    Args:
        config: Names the run, its storage and the address.
        console: Where the links go.

    Returns:
        run, url, answers (how many there are).

    Raises:
        LedgerError: There is no such run, it asks nobody, or its page is served already.
        WeaksegError: Others could reach the page, but nobody is named, or it cannot be served.
    """
    ledger = Ledger.read(open_storage(config.storage.root), config.run)
    _refuse_oracle(ledger)
    browser = config.labelling.browser
    if not loopback(browser.host) and not named(config, ledger):
        raise WeaksegError(
            f"labelling.browser.annotators: expected names where labelling.browser.host is {browser.host}, which "
            "others can reach: each gets a link of their own; set it, such as [anna, ben]"
        )
    desk = open_desk(config, ledger)
    with _alone(ledger), serving(open_site(config, desk), host=browser.host, port=browser.port) as served:
        say(served, ledger.run, console)
        try:
            while served.thread.is_alive():
                served.thread.join(timeout=3600)
        except KeyboardInterrupt:
            console.line(f"{ledger.run}: the page is closed; all answers are kept")
        return {"run": ledger.run, "url": served.url, "answers": len(desk.answers.since())}


def say(served: Served, run: str, console: Console) -> None:
    """Print the links."""
    for who, link in served.links.items():
        console.line(f"{run}: {who} answers at {link}")


def _refuse_oracle(ledger: Ledger) -> None:
    if ledger.record["config"]["labelling"]["annotator"] != "browser":
        raise LedgerError(
            f"run {ledger.run} asks the oracle, not people: start it with --set labelling.annotator=browser"
        )


@contextmanager
def _alone(ledger: Ledger) -> Iterator[None]:
    """One server per run: two would hand the same image out twice."""
    try:
        lock = ledger.storage.lock(ledger.key("annotation.lock"))
    except BlockingIOError:
        raise LedgerError(
            f"run {ledger.run}: its page is served already, by a driver or by `weakseg annotate` (on S3 also half a "
            "minute after one was killed). Stop that one, or start the driver with --set labelling.browser.serve=false"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise WeaksegError(
            f"labelling.browser: cannot listen at {host}:{port} ({error.strerror or error}); choose another port with "
            "--set labelling.browser.port=0"
        ) from error
    return listener
