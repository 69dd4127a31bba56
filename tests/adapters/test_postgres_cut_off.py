"""Statements that are cut off, by a deadline or by whoever waited for them: nothing leaks, nothing goes on alone."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from adapters.postgres import Database, PoolSettings, PostgresTaskRepository, migrate
from application import PageRequest, StorageUnavailable
from domain import Task
from tests.contract.test_task_repository import a_task
from tests.databases import Server
from tests.sql import fetch

pytestmark = pytest.mark.database


@pytest.fixture
async def small(server: Server) -> AsyncIterator[Database]:
    database = Database(await server.new_database(), PoolSettings(size=2, max_overflow=1, timeout=0.5))
    await migrate(database)
    yield database
    await database.close()


async def test_the_server_is_told_to_stop_too(small: Database) -> None:
    with pytest.raises(StorageUnavailable):
        await fetch(small, "SELECT pg_sleep(60)")
    asleep = "SELECT count(*) AS number FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    async with asyncio.timeout(20):
        while (await fetch(small, asleep))[0]["number"]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
async def test_callers_who_leave_at_any_moment_leak_nothing_and_leave_nothing_half_done(
    small: Database, seed: int
) -> None:
    """Each is cancelled at a moment of its own: while it waits, connects, is pinged, sends, or is answered."""
    chance = random.Random(seed)
    tasks = PostgresTaskRepository(small)
    callers = []
    for number in range(150):
        callers.append(asyncio.create_task(tasks.add(a_task(user_id=f"user {number % 7}"))))
        asyncio.get_running_loop().call_later(chance.uniform(0, 0.02), callers[-1].cancel)
        if number % 10 == 0:
            await asyncio.sleep(chance.uniform(0, 0.03))
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    async with small.connection(), small.connection(), small.connection():
        pass
    for number in range(7):
        kept = (await tasks.list(f"user {number}", PageRequest(limit=500))).tasks
        assert len({task.version for task in kept}) == len(kept)
        answered = {task for task in outcomes if isinstance(task, Task) and task.user_id == f"user {number}"}
        assert answered <= set(kept)
