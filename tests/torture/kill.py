"""Kill -9 in the middle of writes: nothing that was acknowledged is ever lost, and nothing is half done."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from tests.torture.postgres import OwnPostgres
from tests.torture.report import Finding, none_of
from tests.torture.service import Service, kill
from tests.torture.storm import Storm


async def kills(folder: Path, postgres: OwnPostgres, *, rounds: int, seconds: float) -> list[Finding]:
    """Kill the service and PostgreSQL in turns, with one server process and with two, in a storm of writes.

    The storm goes on until what was killed serves again. What each round's users were told is checked at once, and
    once more after the last kill.
    """
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    storms: list[Storm] = []
    wrong: list[str] = []
    victims: Counter[str] = Counter()
    for n in range(rounds):
        victim, processes = ("service", "postgres")[n % 2], 1 + n // 2 % 2
        victims[f"{victim}, {processes} process{'es' * (processes - 1)}"] += 1
        storm = Storm(service.address)
        storms.append(storm)
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(service.running(WEB_CONCURRENCY=str(processes)))
            async with storm.blowing():
                await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
                if victim == "service":
                    kill(served)
                    await stack.enter_async_context(service.running(WEB_CONCURRENCY=str(processes)))
                else:
                    await asyncio.to_thread(postgres.kill)
                    await asyncio.to_thread(postgres.start)
                await storm.acknowledges()
            wrong += await storm.wrong(service.address, postgres, database)
            if n == rounds - 1:
                for earlier in storms:
                    wrong += await earlier.wrong(service.address, postgres, database)
    ledgers = [ledger for storm in storms for ledger in storm.ledgers.values()]
    shown = sum(len(versions) for ledger in ledgers for versions in ledger.told.values())
    removed = sum(len(ledger.removed) for ledger in ledgers)
    unsure = sum(len(writes) for ledger in ledgers for writes in ledger.unsure.values())
    done = "; ".join(f"{count} of {victim}" for victim, count in victims.items())
    done += f"; {shown} versions and {removed} deletions acknowledged, {unsure} writes cut off"
    return [none_of("kill -9", done, "lost, doubled or half done", wrong)]
