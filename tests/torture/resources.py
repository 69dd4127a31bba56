"""What the processes of the service use over time: memory, files, database connections; and their metrics."""

import asyncio
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import asyncpg
import httpx

from tests.cli.processes import resident_bytes
from tests.torture.fleet import Fleet
from tests.torture.postgres import ROLE, OwnPostgres
from tests.torture.report import Finding
from tests.torture.service import open_files

POOL_SIZE, OVERFLOW = 10, 20
"""The defaults."""
OTHERS = 4
"""Connections of health checks and scrapes that may be open at any time."""
SETTLE_SECONDS = 2.0
DRIFT = 0.05
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
METRIC = "http_server_request_duration_seconds_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The resources of one process at one time."""

    kib: int
    files: int


class Resources:
    """Samples of each process of each replica, from its start to its end. Needs /proc, so Linux."""

    def __init__(self, fleet: Fleet, postgres: OwnPostgres, database: str) -> None:
        self._fleet, self._postgres, self._database = fleet, postgres, database
        self._lives: dict[tuple[int, int], list[Sample]] = defaultdict(list)
        """By replica and process."""
        self._connections: list[int] = []
        self._idle_files: list[int] = []
        self._left_files: list[int] = []
        self._left_connections = 0
        self._scrapes: Counter[str] = Counter()

    async def at_rest(self) -> None:
        """Note what the processes have open before the load."""
        self._idle_files = [open_files(served.process.pid) for served in self._fleet.served]

    async def sample(self) -> None:
        """Take one sample of everything. A replica that is being restarted is left out."""
        for n, served in enumerate(self._fleet.served):
            pid = served.process.pid
            if n not in self._fleet.restarting:
                self._lives[n, pid].append(Sample(kib=resident_bytes(pid) // 1024, files=open_files(pid)))
                await self._scrape(n)
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # while the database is restarted
            self._connections.append(await self._connected())

    async def left(self) -> None:
        """Note what is open a while after the last client has gone."""
        await self._fleet.disconnect()
        await asyncio.sleep(SETTLE_SECONDS)
        self._left_files = [open_files(served.process.pid) for served in self._fleet.served]
        self._left_connections = await self._connected()

    async def _connected(self) -> int:
        async with self._postgres.admin(self._database) as admin:
            return int(await admin.fetchval(CONNECTIONS, ROLE))

    async def _scrape(self, n: int) -> None:
        url = f"http://127.0.0.1:{self._fleet.services[n].admin_port}/metrics"
        try:
            async with httpx.AsyncClient(verify=False) as http:
                answer = await http.get(url)
        except httpx.TransportError as error:
            self._scrapes[type(error).__name__] += 1
        else:
            self._scrapes[str(answer.status_code) if METRIC in answer.text or answer.is_error else "empty"] += 1

    def findings(self) -> list[Finding]:
        """Return what was promised and what was seen."""
        replicas = len(self._fleet.services)
        most, left, bound = max(self._connections), self._left_connections, replicas * POOL_SIZE
        files_left = max(after - before for before, after in zip(self._idle_files, self._left_files, strict=True))
        return [
            *(flat(n, samples) for (n, _), samples in sorted(self._lives.items())),
            Finding(
                scenario="soak",
                done="database connections, the most and at the end",
                measured=f"{most}, {left}",
                bound=f"{bound + replicas * OVERFLOW}, {bound}",
                kept=most <= bound + replicas * OVERFLOW and left <= bound,
            ),
            Finding(
                scenario="soak",
                done="open files of each replica before the load, and after it",
                measured=f"{self._idle_files}, {self._left_files}",
                bound=f"at most {POOL_SIZE} + {OTHERS} more",
                kept=files_left <= POOL_SIZE + OTHERS,
            ),
            Finding(
                scenario="soak",
                done="metrics scraped",
                measured=", ".join(f"{count} of {status}" for status, count in self._scrapes.items()),
                bound="all 200",
                kept=set(self._scrapes) == {"200"},
            ),
        ]


def flat(replica: int, samples: list[Sample]) -> Finding:
    """Compare a process when it was warm with itself at its end: the second tenth of its life with the last."""
    tenth = max(1, len(samples) // 10)
    warm, end = samples[tenth : 2 * tenth], samples[-tenth:]
    before, after = (median(sample.kib for sample in part) for part in (warm, end))
    most_files = (max(sample.files for sample in part) for part in (warm, end))
    return Finding(
        scenario="soak",
        done=f"a process of replica {replica}: medians of its KiB, and most open files, in the second and the last "
        "tenth of its life",
        measured=f"{before:g}, {after:g}: {after / before - 1:+.1%}; {', '.join(map(str, most_files))}",
        bound=f"{DRIFT:.0%}",
        kept=abs(after / before - 1) <= DRIFT,
    )
