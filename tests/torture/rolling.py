"""A rolling restart: two replicas behind a proxy are restarted in turn under load, and no request fails."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.patience import until
from tests.torture.fleet import Fleet
from tests.torture.followers import Follower
from tests.torture.keyed import MIXED, KeyedTraffic
from tests.torture.ledger import wrong_numbers
from tests.torture.postgres import OwnPostgres
from tests.torture.proxy import SHUTDOWN_DELAY
from tests.torture.report import Finding, at_most, none_of
from tests.torture.traffic import everything

USERS = 4


async def rolling(
    folder: Path, postgres: OwnPostgres, *, rounds: int, delay: float = SHUTDOWN_DELAY, pause: float = 0.03
) -> list[Finding]:
    """Restart both replicas `rounds` times during reads, writes with keys, batches and event streams."""
    database = await postgres.new_database()
    fleet = Fleet(folder, postgres, database, delay=delay)
    took = []
    async with fleet.running():
        traffic = KeyedTraffic(fleet.proxy.address, users=USERS, connections=4 * USERS, mix=MIXED, pause=pause)
        followers = [Follower(fleet.proxy.address, user) for user in traffic.ledgers for _ in range(2)]
        async with AsyncExitStack() as stack:
            for follower in followers:
                await stack.enter_async_context(follower.following())
            async with traffic.running():
                await traffic.acknowledges()
                for n in range(2 * rounds):
                    began = time.monotonic()
                    await fleet.restart(n % 2)
                    took.append(time.monotonic() - began)
                    await traffic.acknowledges()
            await caught_up(followers, fleet.proxy.address)
        wrong = [*fleet.wrong, *await traffic.wrong_tasks(fleet.proxy.address)]
        wrong += await wrong_numbers(postgres, database, traffic.ledgers)
    failed = [event for event in traffic.events if event.is_failure]
    failed += [event for follower in followers for event in follower.failures]
    streams = sum(follower.streams for follower in followers)
    done = f"{2 * rounds} of SIGTERM behind a proxy without retries; {len(traffic.events)} requests, {streams} streams"
    return [
        none_of("rolling restart", done, "failed", failed),
        none_of("rolling restart", "acknowledged, stored and followed states compared", "wrong", wrong),
        at_most("rolling restart", "until a replica serves again", took, delay + 20.0),
    ]


async def caught_up(followers: list[Follower], address: str) -> float:
    """Wait until each follower has what the service has; return the seconds that it took."""

    async def are_equal() -> bool:
        for follower in followers:
            if follower.tasks != {task["id"]: task for task in await everything(address, follower.user)}:
                return False
        return True

    return await until(are_equal)
