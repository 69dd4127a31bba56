"""A PostgreSQL server that the test may kill and pause."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import asyncpg

from adapters.embedded_postgres.server import DATA, binaries, server_identity
from adapters.postgres import Database, migrate
from tests.cli.processes import children
from tests.embedded_servers import with_cluster
from tests.wires import free_port

START_SECONDS = 60.0
ROLE = "hextasks"
"""The service's role: no superuser, to whom limits would not apply."""


class OwnPostgres:
    """A server on a TCP port, for one test run."""

    def __init__(self, folder: Path, *, follows: "OwnPostgres | None" = None) -> None:
        """Create the cluster, as a copy of the server that it `follows`, if any."""
        self._data = folder / "data"
        if follows:
            folder.mkdir()
            self.copy(follows)
        else:
            with_cluster(folder)
        self.port = free_port()
        self._log = folder / "own.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return as soon as it accepts connections."""
        deadline = time.monotonic() + START_SECONDS
        while not self.accepts():
            assert time.monotonic() < deadline, self._log.read_text()[-500:]
            # The shared memory of one that was killed a moment ago may still exist, which makes the next one fail.
            if self._process is None or self._process.poll() is not None:
                self._process = self._launched()
            time.sleep(0.02)

    def _launched(self) -> "subprocess.Popen[bytes]":
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [binaries() / "postgres", "-D", DATA, *(f"--{name}={value}" for name, value in settings.items())],
                cwd=self._data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **server_identity(),
            )

    def accepts(self) -> bool:
        """Return whether it accepts connections."""
        ask = [str(binaries() / "pg_isready"), "-q", "-t", "1", "-d", self.url()]
        return subprocess.run(ask, check=False).returncode == 0

    def processes(self) -> list[int]:
        """Return all of its processes."""
        assert self._process
        return [self._process.pid, *children(self._process.pid)]

    def signal_all(self, number: int) -> None:
        """Send a signal to all of its processes; the first is stopped before, so that it starts no others meanwhile."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)
        for pid in (*children(self._process.pid), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill all of its processes, as a crash of the machine would."""
        if self._process and self._process.poll() is None:
            self.signal_all(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Stop it as an operator does, without waiting for its clients; it sends everything to its standby first."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        self._process.wait()

    def copy(self, primary: "OwnPostgres") -> None:
        """Replace the data by a copy of a running server's, which it follows from its next start on."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        if identity := server_identity():
            shutil.chown(self._data, identity["user"])
        command = [str(binaries() / "pg_basebackup"), "-D", DATA, "-R", "-c", "fast", "-d", primary.url()]
        subprocess.run(command, cwd=self._data, capture_output=True, check=True, **identity)

    def demote(self, primary: "OwnPostgres") -> None:
        """Have it follow another server from its next start on, without a copy."""
        (self._data / "standby.signal").touch()
        self.set(primary_conninfo=primary.url())

    def set(self, **settings: str) -> None:
        """Change settings from its next start on."""
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause all of its processes until the end of the block."""
        self.signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal_all(signal.SIGCONT)

    def url(self, database: str = "postgres", *, role: str = "postgres", port: int | None = None) -> str:
        return f"postgresql://{role}@127.0.0.1:{port or self.port}/{database}"

    @asynccontextmanager
    async def admin(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        """Open a superuser's connection until the end of the block."""
        connection = await asyncpg.connect(self.url(database))
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def new_database(self) -> str:
        """Create a migrated database owned by the service's role, and return its name."""
        name = f"torture_{uuid4().hex[:12]}"
        async with self.admin() as admin:
            with suppress(asyncpg.DuplicateObjectError):
                await admin.execute(f"CREATE ROLE {ROLE} LOGIN")
            await admin.execute(f"CREATE DATABASE {name} OWNER {ROLE}")
        database = Database(self.url(name, role=ROLE))
        await migrate(database)
        await database.close()
        return name


async def blocked_by(admin: asyncpg.Connection) -> int:
    """Count the connections that wait for a lock of this one.

    Not from pg_stat_activity, which within a transaction shows one snapshot.
    """
    mine = "NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    return int(await admin.fetchval(f"SELECT count(DISTINCT pid) FROM pg_locks WHERE {mine}"))


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """Run a server until the end of the block, unless the test stops it."""
    with tempfile.TemporaryDirectory(prefix="hextasks-torture-") as folder:
        postgres = OwnPostgres(Path(folder))
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.kill()
