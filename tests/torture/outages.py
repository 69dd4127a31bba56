"""The database becomes unavailable in every way it can: requests fail fast, and succeed again when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.patience import until
from tests.torture.client import Client
from tests.torture.postgres import ROLE, OwnPostgres
from tests.torture.report import Finding, at_most, none_of
from tests.torture.service import Service
from tests.torture.traffic import LIST, READ
from tests.torture.watch import CALM_SECONDS, Bounds, Fault, Watch
from tests.wires import Wire

SILENT = ("paused", "wire cut, resumed", "wire cut, moved")
"""Faults that only a time limit reveals, so that they must last longer than that."""
TERMINATE_EVERY_SECONDS = 0.2
FAULTS = ("killed", "full", "read-only", *SILENT)


async def outages(folder: Path, postgres: OwnPostgres, *, rounds: int, seconds: float) -> list[Finding]:
    """Run a start without the database, and every fault."""
    bounds = Bounds()
    findings = await at_start(folder, postgres, bounds)
    for name in FAULTS:
        findings += await under_load(folder, postgres, name, rounds=rounds, seconds=seconds, bounds=bounds)
    return findings + await terminated(folder, postgres, seconds=rounds * seconds, bounds=bounds)


async def at_start(folder: Path, postgres: OwnPostgres, bounds: Bounds) -> list[Finding]:
    """Start the service before its database."""
    service = Service(folder, postgres, await postgres.new_database())
    client = Client(service.address, "ada")
    await asyncio.to_thread(postgres.kill)
    answers, faults = [], []
    async with service.running():
        for method, path, body, expected in (
            ("GET", "/health/live", None, "200"),
            ("GET", "/health/ready", None, "503 storage_unavailable"),
            ("GET", "", None, "503 storage_unavailable"),
            ("POST", "", {"title": "Buy milk"}, "503 storage_unavailable"),
        ):
            answer = await client.ask(method, path, body)
            answers.append(answer.seconds)
            if f"{answer.status} {answer.code}".strip() != expected or answer.has_retry_after != ("503" in expected):
                faults.append(f"{method} {path}: {answer.status} {answer.body!r}")
        await asyncio.to_thread(postgres.start)

        async def serves() -> bool:
            asked = [await client.ask("GET", "/health/ready"), await client.ask("POST", "", {"title": "Buy milk"})]
            return [answer.status for answer in asked] == [200, 201]

        healed = await until(serves)
    client.close()
    done = "production start while PostgreSQL is down"
    return [
        none_of("start without database", done, "wrong answers", faults),
        at_most("start without database", "answers without database", answers, bounds.answer),
        at_most("start without database", "serving once PostgreSQL accepts connections", [healed], bounds.heal),
    ]


async def under_load(
    folder: Path, postgres: OwnPostgres, name: str, *, rounds: int, seconds: float, bounds: Bounds
) -> list[Finding]:
    """Cause a fault under load, `rounds` times for `seconds` each."""
    database = await postgres.new_database()
    wire = Wire(("127.0.0.1", postgres.port))
    fault = faults(postgres, database, wire)[name]
    through = wire.port if "wire" in name else None
    service = Service(folder, postgres, database, port=through)
    async with wire.laid(), service.running():
        watch = Watch(service.address, pause=bounds.pause)
        async with watch.watching():
            await watch.traffic.acknowledges()
            for _ in range(rounds):
                await asyncio.sleep(CALM_SECONDS)
                async with watch.outage(fault):
                    await asyncio.sleep(seconds)
                await watch.settled(at_most=3 * bounds.heal)
        wrong = await watch.traffic.wrong(service.address, postgres, database)
    return watch.findings(name, f"{rounds} times for {seconds:g} s", bounds, wrong)


def faults(postgres: OwnPostgres, database: str, wire: Wire) -> dict[str, Fault]:
    """Return the faults by name: each lasts as long as its context."""

    async def execute(*statements: str) -> None:
        async with postgres.admin() as admin:
            for statement in statements:
                await admin.execute(statement)

    @asynccontextmanager
    async def killed() -> AsyncIterator[None]:
        await asyncio.to_thread(postgres.kill)
        yield
        await asyncio.to_thread(postgres.start)

    @asynccontextmanager
    async def paused() -> AsyncIterator[None]:
        with postgres.paused():
            yield

    @asynccontextmanager
    async def full() -> AsyncIterator[None]:
        await execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 2", terminate(database))
        try:
            yield
        finally:
            await execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")

    async def is_read_only(value: str) -> bool:
        async with postgres.admin() as admin:
            return bool(await admin.fetchval("SHOW default_transaction_read_only") == value)

    @asynccontextmanager
    async def read_only() -> AsyncIterator[None]:
        await execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        await until(lambda: is_read_only("on"))
        try:
            yield
        finally:
            await execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
            await until(lambda: is_read_only("off"))

    def wire_cut(*, and_deliver: bool) -> Fault:
        @asynccontextmanager
        async def cut() -> AsyncIterator[None]:
            wire.cut()
            yield
            wire.restore(and_deliver=and_deliver)

        return cut

    every = (killed, full, read_only, paused, wire_cut(and_deliver=True), wire_cut(and_deliver=False))
    return dict(zip(FAULTS, every, strict=True))


def terminate(database: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND usename = '{ROLE}'"


async def terminated(folder: Path, postgres: OwnPostgres, *, seconds: float, bounds: Bounds) -> list[Finding]:
    """Terminate all connections of the service repeatedly, under load.

    A read is tried twice, so one whose connection is terminated twice may fail; on a slow machine that happens.
    """
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    count, times = 0, list[float]()
    async with service.running(), postgres.admin() as admin:
        watch = Watch(service.address, pause=bounds.pause)
        async with watch.watching():
            await watch.traffic.acknowledges()
            over = time.monotonic() + seconds
            while time.monotonic() < over:
                await asyncio.sleep(TERMINATE_EVERY_SECONDS)
                times.append(time.monotonic())
                count += len(await admin.fetch(terminate(database)))
            await watch.traffic.acknowledges()
        wrong = await watch.traffic.wrong(service.address, postgres, database)
    events, scenario = watch.traffic.events, "connections terminated"
    reads = [event for event in events if event.kind in (READ, LIST)]
    failed = [event for event in events if event.is_failure and event not in reads]
    # A termination shortly before a read began may take effect after that.
    at_most_once = [e for e in reads if sum(e.began - TERMINATE_EVERY_SECONDS / 2 < at < e.ended for at in times) < 2]
    return [
        none_of(
            scenario,
            f"{count} connections terminated; {len(at_most_once)} reads, each affected once at most",
            "failed",
            [event for event in at_most_once if event.is_failure],
        ),
        none_of(scenario, "writes", "invalid answers", [event for event in failed if not event.is_retryable]),
        none_of(scenario, "acknowledged and stored states compared", "wrong", wrong),
        Finding(
            scenario=scenario,
            done=f"{len(events) - len(reads)} writes",
            measured=f"{len(failed)} refused",
            bound="one for each connection terminated",
            kept=len(failed) <= count,
        ),
        at_most(scenario, "answers", [event.seconds for event in events], bounds.answer),
    ]
