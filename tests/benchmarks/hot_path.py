"""What one task by its id costs, from the bare driver up to HTTP: `python -m tests.benchmarks.hot_path`.

All contenders run in one process against one server, in turns, so that their ratios hold on a noisy machine; the
figures a second do not. Eight readers at once; each round is half a second; the best of five rounds counts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.memory import MemoryTaskRepository
from adapters.postgres import Database, PostgresTaskRepository, migrate
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.statements import GET
from adapters.postgres.tables import tasks as table
from adapters.tokens import issue_token
from application import PageRequest
from domain import Task, TaskDraft
from tests.databases import Server, running_server, server_kind
from tests.services import SECRET, running_service

READERS, ROUNDS, SECONDS = 8, 5, 0.5
MILK = TaskDraft(title="Buy milk")
Call = Callable[[], Awaitable[object]]


async def rate(call: Call) -> float:
    """Calls a second, of eight readers for half a second."""
    end = time.perf_counter() + SECONDS

    async def read() -> int:
        count = 0
        while time.perf_counter() < end:
            await call()
            count += 1
        return count

    return sum(await asyncio.gather(*(read() for _ in range(READERS)))) / SECONDS


async def main(server_url: str) -> None:
    server = Server(server_url)
    url = await server.new_database()
    database = Database(url)
    await migrate(database)
    postgres, memory = PostgresTaskRepository(database), MemoryTaskRepository()
    task = await postgres.add(Task.create(MILK, id=uuid4(), user_id="ada", now=datetime.now(UTC)))
    await memory.add(task)

    # What most projects write: Core in a transaction, on a pool that pings each time.
    core = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(**connect_arguments(url)),
        pool_size=10,
        pool_pre_ping=True,
    )
    select = sa.select(table).where(table.c.user_id == "ada", table.c.id == task.id)

    async def core_in_a_transaction() -> object:
        async with core.begin() as connection:
            return Task(**(await connection.execute(select)).mappings().one())

    async def driver_alone() -> object:
        async with database.connection() as connection:
            return await connection.fetchrow(GET.sql, "ada", task.id)

    for owner, count in (("few", 100), ("many", 100_000)):
        for n in range(count):
            moment = task.created_at + timedelta(seconds=n)
            await memory.add(Task.create(MILK, id=uuid4(), user_id=owner, now=moment))

    contenders: dict[str, Call] = {
        "driver on the pool, no entity": driver_alone,
        "PostgresTaskRepository.get": lambda: postgres.get("ada", task.id),
        "Core, transaction, pre-ping": core_in_a_transaction,
        "MemoryTaskRepository.get": lambda: memory.get("ada", task.id),
        "MemoryTaskRepository.list, 50 of 100": lambda: memory.list("few", PageRequest()),
        "MemoryTaskRepository.list, 50 of 100,000": lambda: memory.list("many", PageRequest()),
    }
    with running_service(DATABASE_URL=url, LOG_LEVEL="WARNING") as service:
        headers = {"Authorization": f"Bearer {issue_token(SECRET, 'ada')}"}
        async with httpx.AsyncClient(base_url=service.url, headers=headers) as client:
            contenders["HTTP, with this client in the same process"] = lambda: client.get(f"/api/ada/tasks/{task.id}")
            best = dict.fromkeys(contenders, 0.0)
            for _ in range(ROUNDS):
                for name, call in contenders.items():
                    best[name] = max(best[name], await rate(call))
    reference = best["PostgresTaskRepository.get"]
    print(f"server: {server_kind()}")
    for name, found in best.items():
        print(f"{name:45} {found:>9,.0f}/s  {found / reference:6.2f}")
    await core.dispose()
    await database.close()
    await server.drop_all()


if __name__ == "__main__":
    with running_server() as url:
        asyncio.run(main(url))
