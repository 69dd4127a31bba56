"""Statements that are cancelled, by a deadline or by their callers: nothing leaks, and none continues on the server."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from adapters.postgres import Coalescing, Database, PoolSettings, PostgresTaskRepository
from adapters.postgres.deadline import Deadline
from application import PageRequest, StorageUnavailable
from domain import Task
from hextasks.testing.contract.calls import a_task, add
from tests.adapters.test_postgres_pool import backend, two_backends
from tests.databases import patient
from tests.patience import until
from tests.sql import cancel_after_preparation, fetch

pytestmark = pytest.mark.database


ACTIVE = """
    SELECT count(*) AS number FROM pg_stat_activity
    WHERE datname = current_database() AND query = 'SELECT pg_sleep(60)' AND state = 'active'
"""


@pytest.fixture
async def small(url: str) -> AsyncIterator[Database]:
    database = Database(url, PoolSettings(size=2, max_overflow=1, timeout=0.5))
    yield database
    await database.close()


async def active(url: str, number: int) -> None:
    """Wait until the server runs so many of the long statements."""
    database = patient(url)

    async def reached() -> bool:
        return bool((await fetch(database, ACTIVE))[0]["number"] == number)

    await until(reached, 20)
    await database.close()


async def test_a_statement_beyond_the_time_limit_is_cancelled_on_the_server_too(url: str, small: Database) -> None:
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        await fetch(small, "SELECT pg_sleep(60)")
    assert small.timeout <= time.monotonic() - began < 15
    await active(url, 0)
    await small.ping()


async def test_so_is_one_whose_connection_is_closed_afterwards(url: str) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=0.5))
    async with database.connection():
        with pytest.raises(StorageUnavailable):
            await fetch(database, "SELECT pg_sleep(60)")  # on a connection beyond the size
        await active(url, 0)
    await database.close()


async def test_it_is_cancelled_even_if_the_next_caller_is_cancelled_as_well(url: str) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=0, timeout=30))
    for turns in range(6):  # of the event loop, in which the second gets the connection and pings it
        callers = [asyncio.create_task(fetch(database, "SELECT pg_sleep(60)"))]
        await active(url, 1)
        callers.append(asyncio.create_task(fetch(database, "SELECT 1")))  # waits for the connection
        callers[0].cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        callers[1].cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        assert all(caller.cancelled() for caller in callers)
        await active(url, 0)
    assert await fetch(database, "SELECT 1")
    await database.close()


async def test_a_statement_cancelled_after_its_preparation_holds_no_lock(url: str) -> None:
    database, other = patient(url), patient(url)
    await cancel_after_preparation(database)
    await fetch(other, "TRUNCATE tasks")  # needs a lock that excludes all others
    await database.close()
    await other.close()


async def test_the_next_caller_gets_another_connection_if_there_is_one(url: str) -> None:
    database = Database(url, PoolSettings(timeout=30))
    pids = await two_backends(database)
    sleep = asyncio.create_task(fetch(database, "SELECT pg_sleep(60)"))
    await active(url, 1)
    free = await backend(database)
    sleep.cancel()
    await asyncio.gather(sleep, return_exceptions=True)
    assert free in pids
    assert await backend(database) == free
    await database.close()


async def test_a_deadline_ends_a_wait_and_leaves_the_task_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task
    with pytest.raises(TimeoutError), Deadline(loop, loop.time() + 0.01):
        await asyncio.sleep(60)
    assert task.cancelling() == 0
    with Deadline(loop, loop.time() + 60):
        await asyncio.sleep(0)


async def test_a_task_cancelled_at_the_deadline_stays_cancelled() -> None:
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        with Deadline(loop, loop.time() + 0.01):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    loop.call_later(0.02, task.cancel)
    time.sleep(0.05)  # noqa: ASYNC251  # so that both are due in one iteration of the loop
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("mode", get_args(Coalescing))
async def test_callers_cancelled_at_any_moment_leak_nothing_and_leave_nothing_half_done(
    url: str, small: Database, mode: Coalescing
) -> None:
    """Each is cancelled at a moment of its own: while it waits, connects, is pinged, sends, or is answered."""
    chance = random.Random(mode)
    tasks = PostgresTaskRepository(small, coalescing=mode)
    callers = []
    for number in range(150):
        callers.append(asyncio.create_task(add(tasks, a_task(user_id=f"user {number % 7}"))))
        asyncio.get_running_loop().call_later(chance.uniform(0, 0.02), callers[-1].cancel)
        if number % 10 == 0:
            await asyncio.sleep(chance.uniform(0, 0.03))
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    async def none_is_in_use() -> bool:
        return small.pool.counts().in_use == 0

    await until(none_is_in_use)
    reader = patient(url)
    stored = PostgresTaskRepository(reader)
    for number in range(7):
        kept = (await stored.list(f"user {number}", PageRequest(limit=500))).tasks
        assert len({task.version for task in kept}) == len(kept)
        answered = {task for task in outcomes if isinstance(task, Task) and task.user_id == f"user {number}"}
        assert answered <= set(kept)
    await reader.close()
