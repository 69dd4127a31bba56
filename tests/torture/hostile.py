"""Hostile clients beside well-behaved ones: these see no failure, and the service keeps its speed and its memory."""

import asyncio
import time
from pathlib import Path

from tests.cli.processes import resident_bytes
from tests.torture.attack import Order, attacked
from tests.torture.postgres import OwnPostgres
from tests.torture.report import Finding, at_most, none_of, percentile
from tests.torture.service import Service
from tests.torture.traffic import EVEN, Prober, Traffic

CLIENTS = 20
TIMES_CALM = 3.0
MEMORY_MB = 100.0


async def hostile(
    folder: Path, postgres: OwnPostgres, *, seconds: float, connections: int, is_strict: bool
) -> list[Finding]:
    """Serve well-behaved clients beside the attack. Needs /proc, so Linux.

    If `is_strict`, serve them alone for as long before, and compare the speed; otherwise they ask less often.
    """
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    async with service.running() as served:
        traffic, prober = (
            Traffic(service.address, connections=CLIENTS, mix=EVEN, pause=0.02 if is_strict else 0.1),
            Prober(service.address),
        )
        memory: list[int] = []
        async with traffic.running(), prober.probing():
            await traffic.acknowledges()
            calm_since = time.monotonic()
            if is_strict:
                await asyncio.sleep(seconds)
            before = resident_bytes(served.process.pid)
            since = time.monotonic()
            attack = asyncio.create_task(
                attacked(Order(address=service.address, seconds=seconds, connections=connections))
            )
            while not attack.done():
                memory.append(resident_bytes(served.process.pid))
                await asyncio.sleep(0.1)
            until = time.monotonic()
            counts = attack.result()
        wrong = await traffic.wrong(service.address, postgres, database)
    during = [event for event in (*traffic.events, *prober.live, *prober.ready) if event.began >= since]
    calm = sorted(event.seconds for event in traffic.events if calm_since <= event.began < since)
    attacked_ones = sorted(event.seconds for event in traffic.events if since <= event.began < until)
    done = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    grown = (max(memory) - before) / 1024**2
    findings = [
        none_of("hostile", f"{done}; {len(during)} other requests", "failed", [e for e in during if e.is_failure]),
        none_of("hostile", "acknowledged and stored states compared", "wrong", wrong),
        Finding(
            scenario="hostile",
            done="memory, at the most",
            measured=f"{grown:.0f} MB more",
            bound=f"{MEMORY_MB:g} MB",
            kept=grown <= MEMORY_MB,
        ),
    ]
    if is_strict:
        p99, calm_p99 = percentile(attacked_ones, 0.99), percentile(calm, 0.99)
        findings += [
            Finding(
                scenario="hostile",
                done=f"p99 of {CLIENTS} clients, alone {calm_p99 * 1000:.0f} ms",
                measured=f"{p99 * 1000:.0f} ms, {p99 / calm_p99:.1f} times",
                bound=f"{TIMES_CALM:g} times",
                kept=p99 <= calm_p99 * TIMES_CALM,
            ),
            at_most(
                "hostile", "/health/live", [e.seconds for e in prober.live if e.began >= since], Prober.QUICK_SECONDS
            ),
        ]
    return findings
