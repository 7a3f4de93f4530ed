"""A real Ray head with dashboard, as `ray start --head` makes it, that only answers who knows its token."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from servers.s3 import until_answers

RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@dataclass(frozen=True)
class Head:
    """A running head.

    Attributes:
        dashboard: Where jobs are submitted: ``http://127.0.0.1:PORT``.
        token: What it answers to.
    """

    dashboard: str
    token: str

    def ray(self, *arguments: str, token: str | None = None, folder: Path | None = None) -> subprocess.Popen[str]:
        """Start the `ray` command as a submitter: of this process's environment it has only what any shell has.

        Args:
            arguments: Such as ``job submit ...``.
            token: Another token than the head's; empty = none.
            folder: Its working folder.
        """
        given = self.token if token is None else token
        known = ("PATH", "HOME", "LANG")
        environment = {name: os.environ[name] for name in known if name in os.environ}
        environment |= {"RAY_ADDRESS": self.dashboard, "RAY_USAGE_STATS_ENABLED": "0"}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": given} if given else {"RAY_AUTH_MODE": "disabled"}
        return subprocess.Popen(
            [*RAY, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextmanager
def ray_head(*, cpus: int = 3, environment: Mapping[str, str] | None = None) -> Iterator[Head]:
    """Start a head on free ports, with a temporary folder and a token of its own; only its own processes are stopped.

    Args:
        cpus: Logical CPUs.
        environment: What its node has in its environment, beside what runs Ray: as a container's would be set.
    """
    token = secrets.token_hex(16)
    # Sockets lie in it, whose paths may have 107 characters.
    temp = Path(tempfile.mkdtemp(prefix="wsr", dir="/tmp"))
    ports = _free_ports(8)
    options = {
        "node-ip-address": "127.0.0.1",
        "port": ports[0],
        "dashboard-host": "127.0.0.1",
        "dashboard-port": ports[1],
        "ray-client-server-port": ports[2],
        "dashboard-agent-listen-port": ports[3],
        "dashboard-agent-grpc-port": ports[4],
        "metrics-export-port": ports[5],
        "runtime-env-agent-port": ports[6],
        "num-cpus": cpus,
        "num-gpus": 0,
        "resources": '{"driver": 1}',
        "object-store-memory": 150 * 2**20,
        "temp-dir": temp,
    }
    known = ("PATH", "HOME", "LANG", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S")
    log = temp / "start.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*RAY, "start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())],
            env={
                **{name: os.environ[name] for name in known if name in os.environ},
                # As in the image: `python` is the one that has Ray.
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
                **(environment or {}),
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": token,
                "RAY_USAGE_STATS_ENABLED": "0",
            },
            cwd=temp,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        dashboard = f"http://127.0.0.1:{ports[1]}"
        until_answers(f"{dashboard}/api/version", process, seconds=120, log=log.read_text)
        yield Head(dashboard, token)
    finally:
        _end(process)
        shutil.rmtree(temp, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports on the loopback that nothing listens on, all different."""
    listeners = [socket.socket() for _ in range(count)]
    try:
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the head and all that it started: its descendants, and what of its session lives on without a parent.

    A head that is asked to end would first drain its node for half a minute.
    """
    members = {member.pid: member for member in _members(process.pid)}
    process.kill()
    process.wait()
    for member in [*members.values(), *_members(process.pid)]:
        try:
            member.kill()  # psutil makes sure that the id was not given to another process since
        except psutil.NoSuchProcess:
            continue


def _members(session: int) -> list[psutil.Process]:
    found = {}
    try:
        found = {child.pid: child for child in psutil.Process(session).children(recursive=True)}
    except psutil.NoSuchProcess:
        pass
    for process in psutil.process_iter():
        try:
            if process.pid != session and os.getsid(process.pid) == session:
                found[process.pid] = process
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return list(found.values())
