"""The embedded server from outside: its process, its log, its lock; and ways to kill it."""

import asyncio
import fcntl
import os
import signal
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapters.embedded_postgres import EmbeddedPostgres
from adapters.embedded_postgres.server import Server
from adapters.postgres.dsn import connect_arguments
from tests import patience
from tests.cli.processes import command
from tests.patience import SERVER_DEADLINE_SECONDS

eventually = partial(patience.eventually, seconds=SERVER_DEADLINE_SECONDS)
RUN_FOLDER = "TEST_RUN_FOLDER"
"""The variable that holds the folder which all processes of a test run share."""
needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")


@cache
def _cluster(*, is_migrated: bool) -> Path:
    """Return the data of a server that has started and stopped once, created once for all processes of a run."""
    run = Path(os.environ.get(RUN_FOLDER) or tempfile.mkdtemp())
    folder = run / ("migrated" if is_migrated else "pg")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            if is_migrated:
                with_cluster(folder)
            with EmbeddedPostgres(folder).running() as url:
                if is_migrated:
                    assert command("migrate", cwd=run, DATABASE_URL=url).returncode == 0
    return folder / "data"


def with_cluster(folder: Path, *, is_migrated: bool = False) -> Path:
    """Give a folder a copy of a new cluster, which takes a tenth of the time that its creation takes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["cp", "-Rp", _cluster(is_migrated=is_migrated), folder], check=True)
    return folder


def query(url: str, *statements: str) -> Any:
    """Run statements and return the first value of the last one's result."""
    with closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(_query(url, *statements))


async def _query(url: str, *statements: str) -> Any:
    connection = await asyncpg.connect(**connect_arguments(url))
    try:
        for statement in statements:
            value = await connection.fetchval(statement)
    finally:
        await connection.close()
    return value


def query_once_back(url: str, statement: str) -> Any:
    """Run a read-only statement as soon as the server accepts connections."""
    deadline = time.monotonic() + SERVER_DEADLINE_SECONDS
    while True:
        try:
            return query(url, statement)
        except (asyncpg.PostgresError, OSError):
            assert time.monotonic() < deadline, "the server did not recover"
        time.sleep(0.01)


def server_pid(folder: Path) -> int:
    about = folder / "data" / "postmaster.pid"
    eventually(lambda: bool(about.read_text()))  # the file exists a moment before its content
    return int(about.read_text().split()[0])


def is_running(folder: Path) -> bool:
    return (folder / "data" / "postmaster.pid").exists()


def is_alive(folder: Path) -> bool:
    """Return whether any process of the server exists; its pid file may be stale."""
    return Server(folder, folder / "server.log").is_alive()


def starts(folder: Path) -> int:
    """Count how often a server was started in a folder."""
    return (folder / "server.log").read_text(errors="replace").count("LOG:  starting PostgreSQL")


def kill_server(folder: Path) -> None:
    os.kill(server_pid(folder), signal.SIGKILL)


def kill_server_for_good(folder: Path) -> None:
    """Kill it, and make the next one a standby that accepts no connections; returns when that one runs."""
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write("\nhot_standby = off\n")  # refuse connections meanwhile
    (folder / "data" / "standby.signal").touch()
    before = starts(folder)
    kill_server(folder)
    eventually(lambda: starts(folder) > before)


def end_servers(folder: Path) -> None:
    """End the servers that a failed test left running."""
    for file in folder.rglob("postmaster.pid"):
        with suppress(OSError, ValueError, IndexError, AssertionError):
            os.kill(server_pid(file.parent.parent), signal.SIGQUIT)
