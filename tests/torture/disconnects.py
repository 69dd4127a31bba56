"""Clients that disconnect during their requests: the pool loses no connection, and no write is half done."""

import asyncio
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import asyncpg

from tests.patience import until
from tests.torture.client import Client
from tests.torture.postgres import ROLE, OwnPostgres, blocked_by
from tests.torture.report import Finding, none_of
from tests.torture.service import Service
from tests.torture.traffic import EVEN, Traffic, everything

POOL_SIZE, OVERFLOW = 3, 4
LOCK = "SELECT 1 FROM task_counters WHERE user_id = ANY($1) FOR UPDATE"


async def disconnects(folder: Path, postgres: OwnPostgres, *, rounds: int, clients: int) -> list[Finding]:
    """Disconnect `clients` each while sending a body, while their writes wait, and before their answers.

    Afterwards the pool must be able to use all its connections, and must close those beyond its size.
    """
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    settings = {"DATABASE_POOL_SIZE": str(POOL_SIZE), "DATABASE_MAX_OVERFLOW": str(OVERFLOW), "DATABASE_TIMEOUT": "4"}
    settings["REQUEST_TIMEOUT"] = "15"
    wrong: list[str] = []
    async with service.running(**settings), postgres.admin(database) as admin:
        traffic = Traffic(service.address, users=2, connections=4, mix=EVEN, pause=0.02)
        async with traffic.running():
            for _ in range(rounds):
                wrong += await _disconnect(service.address, admin, clients)
        busy = await _most_in_use(service.address, admin)
        await until(lambda: _is_calm(admin))
        left = await _kept(admin)
        wrong += await traffic.wrong(service.address, postgres, database)
    return [
        none_of("disconnects", f"{rounds * clients * 3} during {len(traffic.events)} other requests", "wrong", wrong),
        Finding(
            scenario="disconnects",
            done="database connections in use under full demand, and kept afterwards",
            measured=f"{busy}, {left}",
            bound=f"{POOL_SIZE + OVERFLOW}, at most {POOL_SIZE}",
            kept=busy == POOL_SIZE + OVERFLOW and left <= POOL_SIZE,
        ),
    ]


async def _disconnect(address: str, admin: asyncpg.Connection, count: int) -> list[str]:
    """Disconnect clients, and return which writes were half done."""
    users = [f"user-{uuid4()}" for _ in range(count)]
    waiting, halves, unread = ([Client(address, user) for user in users] for _ in range(3))
    for client in waiting:
        await client.ask("POST", "", {"title": "first"})
    for client in halves:
        await client.send(client.request("POST", "", {"title": "half a body"})[:-5])
    async with admin.transaction():
        await admin.execute(LOCK, users)
        for client in waiting:
            await client.send(client.request("POST", "", {"title": "while waiting"}))

        async def waits() -> bool:
            return await blocked_by(admin) > 0

        await until(waits)
        for client in (*waiting, *halves):
            client.close()
        await asyncio.sleep(0.05)
    for client in unread:
        await client.send(client.request("POST", "", {"title": "unread"}))
        await asyncio.sleep(0)
        client.close()
    await asyncio.sleep(0.5)
    stored = {user: sorted(task["title"] for task in await everything(address, user)) for user in users}
    whole = {"first", "unread", "while waiting"}
    return [
        f"{user} has {titles}"
        for user, titles in stored.items()
        if "first" not in titles or not whole.issuperset(titles) or len(set(titles)) != len(titles)
    ]


async def _most_in_use(address: str, admin: asyncpg.Connection) -> int:
    """Return how many database connections are in use while more are needed than the pool may open."""
    askers = [Client(address, f"asker-{uuid4()}") for _ in range(POOL_SIZE + OVERFLOW + 2)]
    for client in askers:
        await client.ask("POST", "", {"title": "first"})
    most = 0
    async with admin.transaction():
        await admin.execute(LOCK, [client.user for client in askers])
        asked = [asyncio.create_task(client.ask("POST", "", {"title": "at once"})) for client in askers]

        async def enough() -> bool:
            nonlocal most
            most = max(most, await blocked_by(admin))
            return most >= POOL_SIZE + OVERFLOW or all(task.done() for task in asked)

        await until(enough)
        await asyncio.sleep(0.1)
        most = max(most, await blocked_by(admin))
    await asyncio.gather(*asked)
    for client in askers:
        client.close()
    return most


async def _connections(admin: asyncpg.Connection, condition: str = "true") -> int:
    theirs = f"usename = '{ROLE}' AND datname = current_database()"
    return int(await admin.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {theirs} AND {condition}"))


async def _is_calm(admin: asyncpg.Connection) -> bool:
    return await _connections(admin, "state <> 'idle'") == 0


async def _kept(admin: asyncpg.Connection) -> int:
    """Return how many connections stay: PostgreSQL takes a moment to end the others."""

    async def only_the_size() -> bool:
        return await _connections(admin) <= POOL_SIZE

    with suppress(AssertionError):
        await until(only_the_size)
    return await _connections(admin)
