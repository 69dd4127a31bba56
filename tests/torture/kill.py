"""kill -9 during writes: no acknowledged write is lost, and none is half done."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from tests.torture.postgres import OwnPostgres
from tests.torture.report import Finding, none_of
from tests.torture.service import Service, kill
from tests.torture.traffic import Traffic


async def kills(folder: Path, postgres: OwnPostgres, *, rounds: int, seconds: float) -> list[Finding]:
    """Kill the service and PostgreSQL in turns during writes, with one server process and with two.

    The traffic continues until the service acknowledges writes again. What each round acknowledged is checked at
    once, and again after the last kill.
    """
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    all_traffic: list[Traffic] = []
    wrong: list[str] = []
    victims: Counter[str] = Counter()
    for n in range(rounds):
        victim, processes = ("service", "postgres")[n % 2], 1 + n // 2 % 2
        victims[f"{victim}, {processes} process{'es' * (processes - 1)}"] += 1
        traffic = Traffic(service.address)
        all_traffic.append(traffic)
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(service.running(WEB_CONCURRENCY=str(processes)))
            async with traffic.running():
                await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
                if victim == "service":
                    kill(served)
                    await stack.enter_async_context(service.running(WEB_CONCURRENCY=str(processes)))
                else:
                    await asyncio.to_thread(postgres.kill)
                    await asyncio.to_thread(postgres.start)
                await traffic.acknowledges()
            wrong += await traffic.wrong(service.address, postgres, database)
            if n == rounds - 1:
                for earlier in all_traffic:
                    wrong += await earlier.wrong(service.address, postgres, database)
    ledgers = [ledger for traffic in all_traffic for ledger in traffic.ledgers.values()]
    shown = sum(len(versions) for ledger in ledgers for versions in ledger.acknowledged.values())
    removed = sum(len(ledger.removed) for ledger in ledgers)
    unknown = sum(len(writes) for ledger in ledgers for writes in ledger.unknown.values())
    done = "; ".join(f"{count} of {victim}" for victim, count in victims.items())
    done += f"; {shown} versions and {removed} deletions acknowledged, {unknown} writes without an answer"
    return [none_of("kill -9", done, "lost, doubled or half done", wrong)]
