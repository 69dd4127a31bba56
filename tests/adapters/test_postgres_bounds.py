"""The bounds of the pool: how many connections it opens, when it closes them, and in which order it lends them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from adapters.postgres import Database, PoolSettings, PostgresTaskRepository
from adapters.postgres.dsn import connect_arguments
from application import PageRequest, StorageUnavailable
from tests.adapters.test_postgres_pool import backend
from tests.databases import Server, migrated
from tests.patience import until
from tests.sql import fetch
from tests.wires import wired

pytestmark = pytest.mark.database
Count = Callable[[], Awaitable[int]]


@pytest.fixture(scope="module")
async def url(server: Server) -> str:
    """One database for all tests here, each of which closes its connections."""
    return await migrated(server)


@pytest.fixture
async def count(url: str) -> AsyncIterator[Count]:
    """Counts the connections to the database, other than the one that counts; begins when there are none."""
    connection = await asyncpg.connect(**connect_arguments(url))

    async def count() -> int:
        mine = "datname = current_database() AND backend_type = 'client backend'"
        return int(await connection.fetchval(f"SELECT count(*) - 1 FROM pg_stat_activity WHERE {mine}"))

    await reaches(0, count)
    yield count
    await connection.close()


async def reaches(number: int, count: Count) -> None:
    async def reached() -> bool:
        return await count() == number

    await until(reached)


async def test_several_connections_are_opened_at_the_same_time(url: str, count: Count) -> None:
    async with wired(url) as (wire, through):
        database = Database(through, PoolSettings(size=3, timeout=30))
        wire.cut()
        callers = [asyncio.create_task(backend(database)) for _ in range(8)]

        async def all_are_being_opened() -> bool:
            return len(wire.clients) == 3

        await until(all_are_being_opened)
        wire.restore(and_deliver=True)
        assert len({*await asyncio.gather(*callers)}) <= 3
        assert await count() == 3
        await database.close()


async def test_one_more_is_opened_after_half_of_the_time_limit_and_closed_when_it_is_returned(
    small: Database, count: Count
) -> None:
    async with small.connection() as kept:
        began = time.monotonic()
        async with small.connection() as more:
            assert time.monotonic() - began >= small.timeout / 2
            assert await count() == 2
        assert more.is_closed()
        await reaches(1, count)
    assert not kept.is_closed()
    async with small.connection() as again:
        assert again is kept


async def test_a_waiting_caller_gets_the_connection_beyond_the_size_before_it_is_closed(url: str, count: Count) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=10))
    async with database.connection():
        async with database.connection(at_once=True) as more:
            waiting = asyncio.create_task(backend(database))
            await asyncio.sleep(0)
            pid = await more.fetchval("SELECT pg_backend_pid()")
        assert await waiting == pid
        await reaches(1, count)
    await database.close()


async def test_beyond_all_bounds_callers_are_rejected_in_time(small: Database, count: Count) -> None:
    async with small.connection(), small.connection(at_once=True):
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await backend(small)
        assert small.timeout <= time.monotonic() - began < 5
        assert await count() == 2
    await backend(small)


async def test_at_once_opens_a_connection_without_waiting(url: str) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=30))
    began = time.monotonic()
    async with database.connection():
        await database.ping()
    assert time.monotonic() - began < 10
    await database.close()


async def test_callers_are_served_in_order(url: str) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=0, timeout=30))
    served = []

    async def call(number: int) -> None:
        await fetch(database, "SELECT 1")
        served.append(number)

    async with database.connection():
        callers = [asyncio.create_task(call(number)) for number in range(20)]
        await asyncio.sleep(0)
        callers[7].cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert served == [number for number in range(20) if number != 7]
    await database.close()


async def test_a_caller_that_is_cancelled_as_it_gets_a_connection_passes_it_on(url: str) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=0, timeout=30))
    async with database.connection():
        first, second = (asyncio.create_task(backend(database)) for _ in range(2))
        await asyncio.sleep(0)
    first.cancel()  # it has been given the connection, and has not run since
    assert await second
    assert first.cancelled()
    await database.close()


async def test_close_closes_idle_connections_now_and_lent_ones_when_they_are_returned(url: str, count: Count) -> None:
    database = Database(url)
    async with database.connection() as in_use:
        async with database.connection() as idle:
            pass
        await database.close()
        assert idle.is_closed()
        assert await in_use.fetchval("SELECT 1") == 1
    assert in_use.is_closed()
    await reaches(0, count)


async def test_a_second_event_loop_is_rejected(small: Database) -> None:
    await backend(small)
    with pytest.raises(RuntimeError, match="event loop"):
        await asyncio.to_thread(asyncio.run, backend(small))


async def test_the_searches_of_one_user_leave_the_connections_to_others(url: str) -> None:
    database = Database(url, PoolSettings(size=2, max_overflow=0, timeout=30))
    tasks = PostgresTaskRepository(database)
    blocker = await asyncpg.connect(**connect_arguments(url))
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE tasks")
        search = PageRequest(limit=1, text="milk")
        searches = [asyncio.create_task(tasks.list("ada", search)) for _ in range(8)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(tasks.states(["bob"]), 10)
    for page in await asyncio.gather(*searches):
        assert page.tasks == ()
    await blocker.close()
    await database.close()
