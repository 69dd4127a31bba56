"""A synchronous standby takes over under load: the service follows, and no acknowledged write is lost or done twice."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.patience import until
from tests.torture.client import Event
from tests.torture.postgres import ROLE, OwnPostgres
from tests.torture.report import Finding, at_most, none_of
from tests.torture.retries import COUNTER, WRITERS, Seen, Writer
from tests.torture.service import Service
from tests.torture.traffic import LIST, READ, Traffic, everything

WAYS = ("killed", "silent", "switched over")
"""What happens to the primary: kill -9; it no longer answers, and comes back as it was; a planned stop."""
BOUND_SECONDS = 5.0
CALM_SECONDS = 1.0
"""The load goes on for so long after the old primary is back."""
WRITTEN = "SELECT count(*) + coalesce(sum(version), 0) FROM tasks"
IN_SYNC = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"


class Pair:
    """Two servers, one of which follows the other synchronously."""

    def __init__(self, folder: Path) -> None:
        self.primary = OwnPostgres(folder / "first")
        self.primary.start()
        self.standby = OwnPostgres(folder / "second", follows=self.primary)
        self.both = (self.primary, self.standby)

    def url(self, database: str) -> str:
        """Return the URL with both hosts, always in the same order."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.both)
        return f"postgresql://{ROLE}@{hosts}/{database}"

    async def follow(self) -> None:
        """Start the standby, and have the primary acknowledge only what both have."""
        await asyncio.to_thread(self.standby.start)
        async with self.primary.admin() as admin:
            await admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await admin.execute("SELECT pg_reload_conf()")

            async def in_sync() -> bool:
                return bool(await admin.fetchval(IN_SYNC) == 1)

            await until(in_sync)

    async def promote(self) -> float:
        """Have the standby take over, and return when it did."""
        async with self.standby.admin() as admin:
            assert await admin.fetchval("SELECT pg_promote()")
            promoted = time.monotonic()
            # Its next standby is not there yet, and the one that it was told of is gone.
            await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await admin.execute("SELECT pg_reload_conf()")
        self.primary, self.standby = self.standby, self.primary
        return promoted

    def kill(self) -> None:
        for server in self.both:
            server.kill()


async def failover(folder: Path, *, rounds: int, ways: tuple[str, ...] = WAYS) -> list[Finding]:
    """Let the primary fail in each way, `rounds` times; each time the old one becomes the standby of the new one."""
    pair = await asyncio.to_thread(Pair, folder / "pair")
    try:
        database = await pair.primary.new_database()
        await pair.follow()
        service = Service(folder, pair.primary, database)
        service.url = pair.url(database)
        async with service.running():
            findings: list[Finding] = []
            for way in ways:
                findings += await _fail(pair, service, database, way, rounds)
        return findings
    finally:
        await asyncio.to_thread(pair.kill)


async def _fail(pair: Pair, service: Service, database: str, way: str, rounds: int) -> list[Finding]:
    scenario, seen = f"failover, {way}", Seen()
    wrong: list[str] = []
    events: list[Event] = []
    served: list[float] = []
    healed: list[float] = []
    for _ in range(rounds):
        traffic = Traffic(service.address, pause=0.005)
        async with traffic.running(), _keyed(service.address, seen):
            await traffic.acknowledges()
            await _end(pair.primary, way)
            promoted = await pair.promote()
            await traffic.acknowledges()
            old = pair.standby
            before = await _return(old, pair.primary, way, database)
            await asyncio.sleep(CALM_SECONDS)
            await traffic.acknowledges()
            if before is not None and await _written(old, database) != before:
                wrong.append("the old primary was written to")
        after = [event for event in traffic.events if event.ended > promoted]
        served.append(
            min(event.ended for event in after if event.kind not in (READ, LIST) and not event.is_failure) - promoted
        )
        healed.append(max((event.ended for event in after if event.is_failure), default=promoted) - promoted)
        events += traffic.events
        wrong += await traffic.wrong(service.address, pair.primary, database)
        if way != "switched over":
            await asyncio.to_thread(old.kill)
            await asyncio.to_thread(old.copy, pair.primary)
        await pair.follow()
    async with pair.primary.admin(database) as admin:
        counter = await admin.fetchval(COUNTER, seen.user)
    writes = len(seen.tokens)
    wrong += seen.faults(await everything(service.address, seen.user), counter, writes)
    failed = [event for event in events if event.is_failure]
    done = f"{rounds} times; {len(events)} requests, {len(failed)} refused; {writes} writes with Idempotency-Key"
    return [
        none_of(scenario, done, "lost, doubled or half done", wrong),
        none_of(scenario, "answers", "invalid", [event for event in failed if not event.is_retryable]),
        at_most(scenario, "from the promotion to the first acknowledged write", served, BOUND_SECONDS),
        at_most(scenario, "from the promotion to the last failure", healed, BOUND_SECONDS),
    ]


async def _end(primary: OwnPostgres, way: str) -> None:
    if way == "killed":
        await asyncio.to_thread(primary.kill)
    elif way == "silent":
        primary.signal_all(signal.SIGSTOP)
    else:
        await asyncio.to_thread(primary.stop)


async def _return(old: OwnPostgres, new: OwnPostgres, way: str, database: str) -> int | None:
    """Have the old primary come back; return what was written to it until then, if it is not a standby now."""
    if way == "silent":
        old.signal_all(signal.SIGCONT)
    else:
        if way == "killed":
            old.set(default_transaction_read_only="on")
        else:
            old.demote(new)
        await asyncio.to_thread(old.start)
    return await _written(old, database) if way != "switched over" else None


async def _written(server: OwnPostgres, database: str) -> int:
    async with server.admin(database) as admin:
        return int(await admin.fetchval(WRITTEN))


@asynccontextmanager
async def _keyed(address: str, seen: Seen) -> AsyncIterator[None]:
    """Write with keys, each write until it is answered, until the end of the block."""
    is_over = asyncio.Event()

    async def write() -> None:
        writer = Writer(address, seen)
        while not is_over.is_set():
            await writer.write()
        writer.client.close()

    async with asyncio.TaskGroup() as writing:
        for _ in range(WRITERS):
            writing.create_task(write())
        try:
            yield
        finally:
            is_over.set()
