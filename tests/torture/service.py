"""The service under test: `hextasks serve` in production, as an operator runs it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.cli.processes import Served, end_group, serving
from tests.patience import GENEROUS, eventually
from tests.torture.client import SECRET
from tests.torture.postgres import ROLE, OwnPostgres
from tests.wires import connects, free_port

COALESCING = "DATABASE_COALESCING"
"""The setting that the service takes from the environment of the scenarios."""


class Service:
    """A service on one port, however often it is started."""

    def __init__(self, folder: Path, postgres: OwnPostgres, database: str, *, port: int | None = None) -> None:
        """Take its database, and the port of the server if that is not the server's own."""
        self._folder = folder
        self.url = postgres.url(database, role=ROLE, port=port)
        self._port = free_port()
        self.admin_port = free_port()
        """Used where the settings of `running` have it."""
        self.address = f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def running(self, **settings: str) -> AsyncIterator[Served]:
        """Run it until the end of the block, where it must stop with status 0 unless it has ended before."""
        given = {"ENVIRONMENT": "production", "JWT_SECRET": SECRET, "DATABASE_URL": self.url, "PORT": str(self._port)}
        given |= dict.fromkeys(GENEROUS, "")  # as shipped: the scenarios test these limits
        given[COALESCING] = os.environ.get(COALESCING, "")
        stack = ExitStack()
        try:
            yield await asyncio.to_thread(stack.enter_context, serving(self._folder, **given | settings))
        finally:
            await asyncio.to_thread(stack.close)


def kill(served: Served) -> None:
    """Kill all processes of a service."""
    end_group(served.process)
    served.process.wait()
    eventually(lambda: not connects(int(served.port)))  # its other processes end a moment later


def open_files(pid: int) -> int:
    """Return how many files a process has open. Needs /proc."""
    return len(list(Path("/proc", str(pid), "fd").iterdir()))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used. Where there is no /proc, not a number."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
