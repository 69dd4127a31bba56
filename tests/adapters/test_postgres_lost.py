"""Lost connections: which statements run again, and on which connection."""

import asyncio
from typing import Any

import pytest

from adapters.postgres import Database, PoolSettings, PostgresTaskRepository, pool
from application import StorageUnavailable, TaskNotFound
from hextasks.testing.contract.calls import a_task, add
from tests.adapters.test_postgres_cut_off import active
from tests.adapters.test_postgres_pool import backend, two_backends
from tests.databases import patient
from tests.patience import until
from tests.sql import fetch
from tests.wires import wired

pytestmark = pytest.mark.database


async def end_the_active(url: str, query: str = "%pg_sleep(60)%") -> None:
    """Wait until a statement waits within its execution, and end the connection that it runs on."""
    other = patient(url)
    end = """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE $1
        AND state = 'active' AND wait_event_type IN ('Timeout', 'Lock')
    """

    async def ended() -> bool:
        return bool(await fetch(other, f"{end} AND pid <> pg_backend_pid()", query))

    await until(ended)
    await other.close()


async def test_a_connection_with_an_unread_termination_loses_no_write(url: str) -> None:
    fields = b"SFATAL\0" + b"C57P01\0" + b"Mterminating connection\0" + b"\0"
    async with wired(url) as (wire, through):
        database = Database(through, PoolSettings(timeout=30))
        old = await two_backends(database)
        for client in wire.clients:
            client.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        await asyncio.sleep(0.05)
        await fetch(database, "CREATE TABLE written_once ()")
        assert not {*old} & {*await two_backends(database)}
        await database.close()


async def test_a_read_whose_connection_is_lost_runs_again_and_a_write_does_not(url: str) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=0, timeout=30))
    await fetch(database, "CREATE SEQUENCE runs")
    count_and_wait = "SELECT CASE WHEN nextval('runs') IN (1, 3) THEN pg_sleep(60) END"
    for is_read, runs in ((True, 2), (False, 3)):
        running = asyncio.create_task(fetch(database, count_and_wait, is_read=is_read))
        await end_the_active(url)
        outcomes: list[Any] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(outcomes[0], StorageUnavailable) == (not is_read)
        ((last,),) = [row.values() for row in await fetch(database, "SELECT last_value FROM runs")]
        assert last == runs
    await database.close()


async def test_a_statement_that_is_no_longer_prepared_is_prepared_again(url: str) -> None:
    database = patient(url)
    for _ in range(2):
        assert await fetch(database, "SELECT 1")
        async with database.connection() as connection:
            await connection.execute("DEALLOCATE ALL")
    await database.close()


async def test_a_retry_after_a_lost_connection_uses_a_new_connection(url: str) -> None:
    database = Database(url, PoolSettings(timeout=30))
    old = await two_backends(database)
    asleep = "SELECT CASE WHEN pg_backend_pid() = ANY($1) THEN pg_sleep(60) END"
    running = asyncio.create_task(fetch(database, asleep, old, is_read=True))
    await end_the_active(url)
    await running
    assert not {*old} & {*await two_backends(database)}
    await database.close()


async def test_a_ping_meanwhile_does_not_make_an_old_connection_usable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TRUST_SECONDS", 0.0)
    monkeypatch.setattr(pool, "PING_TIMEOUT_SECONDS", 30.0)
    async with wired(url) as (wire, through):
        database = Database(through, PoolSettings(timeout=30))
        async with database.connection():
            (last_end,) = wire.clients
            pinged = await backend(database)
        running = asyncio.create_task(fetch(database, "SELECT pg_sleep(60)"))
        await active(url, 1)  # on the connection returned last
        wire.cut()
        caller = asyncio.create_task(backend(database))

        async def is_pinging() -> bool:
            return database.pool.counts().in_use == 2

        await until(is_pinging)
        last_end.transport.abort()
        with pytest.raises(StorageUnavailable):
            await running
        wire.restore(and_deliver=True)
        assert await caller != pinged
        await database.close()


async def test_a_server_that_became_read_only_is_replaced_at_the_first_write(small: Database) -> None:
    tasks = PostgresTaskRepository(small)
    async with small.connection() as connection:
        await connection.execute("SET default_transaction_read_only = on")
    assert (await add(tasks, a_task())).version == 1


async def test_a_server_that_stays_read_only_is_unavailable(url: str) -> None:
    database = Database(f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(StorageUnavailable):
        await PostgresTaskRepository(database).add(a_task())
    with pytest.raises(StorageUnavailable):
        await database.ping()
    with pytest.raises(TaskNotFound):
        await PostgresTaskRepository(database).get("ada", a_task().id)
    await database.close()


async def test_a_statement_that_provably_did_nothing_runs_again(url: str) -> None:
    database = patient(url)
    await fetch(database, "CREATE SEQUENCE tries")
    await fetch(
        database,
        """
        CREATE FUNCTION fail_once() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('tries') = 1 THEN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END IF;
          RETURN currval('tries');
        END $$
        """,
    )
    assert [tuple(row.values()) for row in await fetch(database, "SELECT fail_once()")] == [(2,)]
    await database.close()
