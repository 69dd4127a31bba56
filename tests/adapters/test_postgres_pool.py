"""The pool: no dead connection reaches a request, and its faults are StorageUnavailable."""

import asyncio
import time

import pytest

import adapters.postgres.pool as module
from adapters.postgres import Database, PoolSettings, PostgresTaskRepository, Statement, migrate
from adapters.postgres.pool import PoolCounts
from application import PageRequest, StorageUnavailable, TaskContended
from hextasks.testing.contract.calls import LATER, a_task, add
from tests.databases import Server, patient
from tests.patience import DEADLINE_SECONDS
from tests.sql import END_OTHERS, fetch
from tests.wires import wired

pytestmark = [pytest.mark.database, pytest.mark.waits]


async def backend(database: Database) -> int:
    return int((await fetch(database, "SELECT pg_backend_pid() AS pid"))[0]["pid"])


async def two_backends(database: Database) -> list[int]:
    async with database.connection() as first, database.connection() as second:
        return [await connection.fetchval("SELECT pg_backend_pid()") for connection in (first, second)]


async def end_backends(url: str) -> None:
    other = patient(url)
    await fetch(other, END_OTHERS)
    await other.close()


def test_the_defaults() -> None:
    pool = PoolSettings()
    assert (pool.size, pool.max_overflow, pool.pre_ping, pool.recycle) == (10, 20, True, 3600.0)


async def test_it_tells_how_it_is_used(server_url: str) -> None:
    pool = (database := Database(server_url, PoolSettings(size=1, max_overflow=2, timeout=30))).pool
    assert (pool.limit, pool.counts()) == (3, PoolCounts(in_use=0, idle=0, waiting=0))
    async with database.connection():
        waiting = [asyncio.create_task(backend(database)) for _ in "ab"]
        await asyncio.sleep(0)
        assert pool.counts() == PoolCounts(in_use=1, idle=0, waiting=2)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert pool.counts() == PoolCounts(in_use=1, idle=0, waiting=1)
    await waiting[1]
    assert pool.counts() == PoolCounts(in_use=0, idle=1, waiting=0)
    await database.close()


async def test_a_statement_whose_time_is_half_over_waits_no_longer_for_a_connection(url: str) -> None:
    """A write that was skipped by a shared statement runs alone, with the time that is left."""
    database = Database(url, PoolSettings(size=1, max_overflow=1, timeout=3 * DEADLINE_SECONDS))
    async with database.connection():
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        assert await database.fetch(Statement(name="test", sql="SELECT 1"), deadline=deadline)
    await database.close()


@pytest.mark.parametrize("pre_ping", [True, False])
async def test_a_connection_that_the_server_ended_is_replaced_before_its_use(url: str, pre_ping: bool) -> None:
    database = Database(url, PoolSettings(size=1, pre_ping=pre_ping))
    first = await backend(database)
    assert await backend(database) == first
    for _ in range(3):
        await end_backends(url)
        assert await backend(database) != first
    await database.close()


async def test_the_first_ping_detects_a_server_that_stopped_responding(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRUST_SECONDS", 0.0)
    monkeypatch.setattr(module, "PING_TIMEOUT_SECONDS", 1.0)
    async with wired(url) as (wire, through):
        database = Database(through, PoolSettings(timeout=30))
        async with database.connection(), database.connection():
            old = await two_backends(database)
        wire.cut()
        wire.restore(and_deliver=False)
        began = time.monotonic()
        async with database.connection(), database.connection():
            assert not {*old} & {*await two_backends(database)}
        assert 1 <= time.monotonic() - began < 2, "more than one was pinged"
        await database.close()


async def test_a_busy_connection_is_not_pinged_and_an_idle_one_is(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    async with empty_database.connection() as connection:
        connection.add_query_logger(lambda query: sent.append(query.query))
    monkeypatch.setattr(module, "TRUST_SECONDS", 0.0)
    await backend(empty_database)
    await backend(empty_database)
    await asyncio.sleep(0)
    assert sent == ["SELECT pg_backend_pid() AS pid", "SELECT 1", "SELECT pg_backend_pid() AS pid"]


async def test_an_old_connection_is_recycled(url: str) -> None:
    database = Database(url, PoolSettings(recycle=0.05))
    first = await backend(database)
    await asyncio.sleep(0.1)
    assert await backend(database) != first
    await database.close()


@pytest.mark.parametrize(
    "broken",
    ["postgresql://nobody@127.0.0.1:1/x", "postgresql://nobody@host.invalid/x", "postgresql://nobody@/x?host=/nowhere"],
)
async def test_every_method_raises_storage_unavailable(broken: str) -> None:
    database = Database(broken, PoolSettings(timeout=2))
    tasks = PostgresTaskRepository(database)
    task = a_task()
    for call in (
        tasks.add(task),
        tasks.get("ada", task.id),
        tasks.list("ada", PageRequest()),
        tasks.save(task),
        tasks.remove("ada", task.id, removed_at=LATER),
        database.ping(),
        migrate(database),
    ):
        with pytest.raises(StorageUnavailable):
            await call
    await database.close()


async def test_a_missing_database_and_one_without_tables(server: Server) -> None:
    url = await server.new_database()
    missing = Database(url.replace("hextasks_test_", "hextasks_missing_"))
    with pytest.raises(StorageUnavailable):
        await missing.ping()
    await missing.close()
    blank = patient(url)
    with pytest.raises(StorageUnavailable):  # not migrated yet, or being restored
        await PostgresTaskRepository(blank).get("ada", a_task().id)
    await blank.close()


async def test_one_users_writes_cannot_occupy_every_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(url, PoolSettings(size=2, max_overflow=0, timeout=1.5))
    blocker = patient(url)
    tasks = PostgresTaskRepository(database)
    await tasks.add(a_task())
    async with blocker.connection() as connection, connection.transaction():
        await connection.execute("SELECT * FROM task_counters FOR UPDATE")
        storm = [asyncio.create_task(add(tasks, a_task())) for _ in range(40)]
        await asyncio.sleep(0.1)
        assert (await add(tasks, a_task(user_id="grace"))).version == 1
        first, *others = await asyncio.gather(*storm, return_exceptions=True)
    assert isinstance(first, StorageUnavailable)
    assert {type(outcome) for outcome in others} <= {TaskContended, StorageUnavailable}
    # The outcome of the write cancelled at the counter is unknown; the others were not sent.
    assert (await add(tasks, a_task())).version in (2, 3)
    await blocker.close()
    await database.close()
