"""PostgreSQL in a temporary folder, for as long as the tests run."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.s3 import free_port

USER = "postgres"


def binaries() -> Path:
    """The folder with PostgreSQL's programs, the newest version's; skips where there is none."""
    on_path = shutil.which("initdb")
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0),
    )
    if not found and on_path is None:
        pytest.skip("no PostgreSQL (initdb neither on PATH nor below /usr/lib/postgresql): apt-get install postgresql")
    return found[-1] if found else Path(str(on_path)).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of an empty database on a server of the session's own, which listens on the loopback only."""
    programs = binaries()
    # It refuses to run as root.
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:
        try:
            account = pwd.getpwnam(USER)
        except KeyError:
            pytest.skip(f"PostgreSQL refuses to run as root, and there is no user {USER}: apt-get install postgresql")
        as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="weakseg-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if as_user:
            os.chown(folder, account.pw_uid, account.pw_gid)
        environment = {"PATH": os.environ["PATH"], "HOME": name, "LC_ALL": "C.UTF-8"}
        made = subprocess.run(
            [str(programs / "initdb"), "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            **as_user,
        )
        assert made.returncode == 0, made.stderr
        port = free_port()
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", f"port={port}", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [str(programs / "postgres"), "-D", "data", *(part for each in settings for part in ("-c", each))],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                **as_user,
            )
        try:
            ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-t", "60", "-q"]
            while subprocess.run(ready, check=False).returncode:
                assert server.poll() is None, (folder / "log").read_text()
            yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # its way to stop without waiting for clients
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
