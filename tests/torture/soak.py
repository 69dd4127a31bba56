"""A long mixed load: memory, open files and connections do not grow, and no request fails."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import uuid4

import asyncpg

from tests.torture.client import Client, Json
from tests.torture.postgres import ROLE, OwnPostgres
from tests.torture.report import Finding, none_of
from tests.torture.service import Service, open_files, resident_kib
from tests.torture.traffic import COMPLETE, CREATE, LIST, READ, REMOVE, RENAME, REOPEN, Traffic

POOL_SIZE, OVERFLOW = 10, 20
"""The defaults."""
WARM_UP = 0.2
"""The share of the time before measurements count."""
WINDOWS = 4
DRIFT = 0.05
STEADY = {READ: 12, LIST: 3, CREATE: 4, RENAME: 3, COMPLETE: 2, REOPEN: 1, REMOVE: 4}
"""As many removals as creations, so that the number of stored tasks does not grow."""
BAD_REQUESTS: tuple[tuple[str, str, Json | None, int], ...] = (
    ("POST", "", {"title": ""}, 400),
    ("POST", "", {"name": "Buy milk"}, 400),
    ("GET", "?limit=0", None, 400),
    ("GET", "/no-id", None, 404),
    ("PATCH", "", None, 405),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The resources of the service at one time."""

    kib: int
    files: int
    connections: int


async def soak(folder: Path, postgres: OwnPostgres, *, minutes: float) -> list[Finding]:
    """Load the service for so long, and compare its resources from window to window. Needs /proc, so Linux."""
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    samples: list[Sample] = []
    wrong: list[str] = []
    async with service.running() as served, postgres.admin(database) as admin:
        traffic = Traffic(service.address, users=16, connections=24, mix=STEADY, pause=0.05)
        async with traffic.running():
            over = time.monotonic() + minutes * 60
            while time.monotonic() < over:
                wrong += await _send_bad_requests(service.address)
                samples.append(await _sample(served.process.pid, admin))
                await asyncio.sleep(min(1.0, minutes))
        await asyncio.sleep(1)
        left = (await _sample(served.process.pid, admin)).connections
        counts = ", ".join(f"{count} of {answer}" for answer, count in traffic.count().most_common())
        wrong += await traffic.wrong(service.address, postgres, database)
    most = max(sample.connections for sample in samples)
    judged = samples[int(len(samples) * WARM_UP) :]
    return [
        none_of("soak", f"{minutes:g} minutes: {counts}", "failed", [e for e in traffic.events if e.is_failure]),
        none_of("soak", "acknowledged and stored states compared", "wrong", wrong),
        _flat("memory, KiB", [sample.kib for sample in judged]),
        _flat("open files", [sample.files for sample in judged]),
        Finding(
            scenario="soak",
            done="database connections, the most and at the end",
            measured=f"{most}, {left}",
            bound=f"{POOL_SIZE + OVERFLOW}, {POOL_SIZE}",
            kept=most <= POOL_SIZE + OVERFLOW and left <= POOL_SIZE,
        ),
    ]


async def _send_bad_requests(address: str) -> list[str]:
    """Send invalid requests and disconnect during one; return the statuses if one was not the expected one."""
    client = Client(address, f"invalid-{uuid4()}")
    answers = [(await client.ask(method, end, body)).status for method, end, body, _ in BAD_REQUESTS]
    await client.send(client.request("POST", "", {"title": "half a body"})[:-5])
    client.close()
    expected = [status for *_, status in BAD_REQUESTS]
    return [] if answers == expected else [f"bad requests were answered {answers}"]


async def _sample(pid: int, admin: asyncpg.Connection) -> Sample:
    return Sample(
        kib=resident_kib(pid),
        files=open_files(pid),
        connections=await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", ROLE),
    )


def _flat(what: str, values: Sequence[int]) -> Finding:
    """Check that the medians of the windows differ little."""
    size = max(len(values) // WINDOWS, 1)
    medians = [median(values[n * size : (n + 1) * size]) for n in range(WINDOWS)]
    drift = max(medians) / min(medians) - 1
    return Finding(
        scenario="soak",
        done=f"{what}, medians of {WINDOWS} windows after the warm-up",
        measured=f"{', '.join(f'{value:g}' for value in medians)}: {drift:.1%} apart",
        bound=f"{DRIFT:.0%}",
        kept=drift <= DRIFT,
    )
