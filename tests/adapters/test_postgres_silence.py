"""A database that stops responding at any moment of a start or a migration: each wait ends, and the next try works."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import asyncpg
import pytest
from sqlalchemy import text

from adapters.postgres import (
    Database,
    MigrationTimeout,
    PoolSettings,
    PostgresStorage,
    migrate,
    migration_watch,
    schema_state,
)
from adapters.postgres import migration_session as session
from adapters.postgres.dsn import connect_arguments
from application import StorageUnavailable
from tests.databases import patient
from tests.patience import DEADLINE_SECONDS, until
from tests.sql import END_OTHERS, fetch
from tests.wires import wired

pytestmark = [pytest.mark.database, pytest.mark.waits]
HOLD_LOCK = f"SELECT pg_advisory_xact_lock({migration_watch.LOCK_KEY})"
VERSION_TABLE = "CREATE TABLE hextasks_version (version_num varchar(32) PRIMARY KEY)"
SLOW_DDL = """
    CREATE FUNCTION dawdle() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(4); END';
    CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION dawdle()
"""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_watch, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", 2.0)


@pytest.fixture
async def other(empty_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else."""
    arguments = connect_arguments(empty_url)
    connection = await asyncpg.connect(**arguments, server_settings={"application_name": "psql of ada"})
    yield connection
    connection.terminate()


async def is_ready(storage: PostgresStorage) -> bool:
    try:
        await storage.ping()
    except StorageUnavailable:
        return False
    return True


@pytest.mark.unmeasured
@pytest.mark.parametrize("migrates", [True, False])
async def test_a_start_ends_whenever_the_wire_goes_silent_and_succeeds_when_it_is_restored(
    empty_url: str, empty: Database, monkeypatch: pytest.MonkeyPatch, migrates: bool
) -> None:
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", 0.5)
    async with wired(empty_url) as (wire, url):

        async def new_storage(seconds: float) -> PostgresStorage:
            async with empty.connection() as connection:
                await connection.fetch(END_OTHERS)  # which the silent wire left behind
                if migrates:
                    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            wire.forwarded = 0
            return PostgresStorage(url, PoolSettings(timeout=seconds), migrates=migrates)

        if not migrates:
            await migrate(empty)
        storage = await new_storage(DEADLINE_SECONDS)
        with monkeypatch.context() as patch:
            # no heartbeats, whose number differs from run to run
            patch.setattr(migration_watch, "HEARTBEAT_SECONDS", DEADLINE_SECONDS)
            await storage.start()
        pieces = wire.forwarded
        await storage.close()
        for moment in {*range(0, pieces, pieces // 8), *range(pieces - 8, pieces)}:
            storage = await new_storage(0.3)
            wire.cut_after = moment
            began, has_started = time.monotonic(), False
            with suppress(StorageUnavailable):
                await storage.start()
                has_started = True
            assert not has_started or moment >= pieces - 8, "at the end fewer pieces may be left, as some come together"
            assert time.monotonic() - began < DEADLINE_SECONDS, f"after {moment} of {pieces}"
            wire.restore(and_deliver=False)
            await until(partial(is_ready, storage), DEADLINE_SECONDS)
            await storage.close()


async def test_a_migration_that_is_cancelled_while_the_wire_is_silent_ends(empty_url: str) -> None:
    async with wired(empty_url) as (wire, url):
        database = patient(url)
        wire.cut_after = 30
        migration = asyncio.create_task(session.upgrade(database, DEADLINE_SECONDS))

        async def is_silent() -> bool:
            return wire.is_cut

        await until(is_silent)
        migration.cancel()
        await asyncio.wait([migration], timeout=DEADLINE_SECONDS)
        assert migration.cancelled()
        await database.close()


async def test_the_end_of_a_migration_waits_for_no_response(empty_url: str) -> None:
    async with wired(empty_url) as (wire, url):
        database = patient(url)
        async with asyncio.timeout(DEADLINE_SECONDS), session.migration_session(database) as migrating:
            await migrating.execute(text("CREATE TABLE done ()"))
            await migrating.commit()
            wire.cut()
        await database.close()


async def test_a_statement_of_a_migration_may_take_longer_than_a_silence(
    empty_url: str, empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", 3.0)
    async with empty.connection() as connection:
        await connection.execute(SLOW_DDL)
    database = Database(empty_url, PoolSettings(timeout=3.0))
    await migrate(database)
    assert (await schema_state(empty)).is_current
    await database.close()


async def test_one_that_waits_too_long_for_the_lock_names_the_session_that_holds_it(
    empty: Database, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", DEADLINE_SECONDS)
    async with other.transaction():
        await other.execute(HOLD_LOCK)
        with pytest.raises(MigrationTimeout, match=rf"process {other.get_server_pid()}, role .*, application psql of"):
            await migrate(empty, lock_timeout=1)
    await migrate(empty)


async def test_one_that_waits_for_a_table_lets_requests_pass_and_names_the_session_that_holds_it(
    empty: Database, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", DEADLINE_SECONDS)
    monkeypatch.setattr(session, "TABLE_LOCK_PAUSE_SECONDS", 0.1)
    await other.execute(VERSION_TABLE)
    async with other.transaction():
        await other.execute("LOCK TABLE hextasks_version")
        with pytest.raises(MigrationTimeout, match="application psql of ada"):
            await session.upgrade(empty, lock_timeout=1)
        waiting = asyncio.create_task(session.upgrade(empty, DEADLINE_SECONDS))
        await asyncio.sleep(3 * session.TABLE_LOCK_TIMEOUT_SECONDS)
        assert not waiting.done()
    await waiting
    assert (await schema_state(empty)).is_current


async def test_a_migration_whose_client_has_vanished_is_ended_by_the_next_one(
    empty: Database, other: asyncpg.Connection
) -> None:
    await other.execute("BEGIN")
    await other.execute(HOLD_LOCK)
    await migrate(empty)
    assert (await schema_state(empty)).is_current
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await other.execute("COMMIT")


async def test_the_watch_of_a_migration_whose_client_has_vanished_is_ended_by_the_next_one(
    empty: Database, other: asyncpg.Connection
) -> None:
    await other.execute(VERSION_TABLE)
    watching = migration_watch._PROGRESS.sql.replace(
        "FROM pg_stat_activity WHERE", "FROM hextasks_version, pg_stat_activity WHERE"
    )
    await other.prepare(watching)  # begins a transaction, with its locks, which the driver ends with its next message
    await migrate(empty)
    assert (await schema_state(empty)).is_current


async def test_a_migration_whose_client_has_vanished_is_ended_by_the_server(empty_url: str, empty: Database) -> None:
    """Its locks on tables would stop all requests, even if nothing migrates again."""
    sessions = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    async with wired(empty_url) as (wire, url):
        database = Database(url, PoolSettings(timeout=0.5))

        async def is_ended() -> bool:
            return not await fetch(empty, sessions)

        async def migrate_until_ended() -> None:
            async with session.migration_session(database) as migrating:
                await migrating.execute(text("CREATE TABLE half_done ()"))
                assert len(await fetch(empty, sessions)) == 1
                wire.cut()
                await until(is_ended, DEADLINE_SECONDS)

        with pytest.raises(TimeoutError):
            await migrate_until_ended()
        await database.close()


async def test_connecting_is_bounded_whatever_the_url_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=0"
        database = Database(url, PoolSettings(timeout=0.3))
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises(StorageUnavailable):
                await migrate(database)


async def test_requests_wait_for_a_migration_no_longer_than_for_an_examination(
    empty_url: str, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_watch, "SILENCE_SECONDS", DEADLINE_SECONDS)
    storage = PostgresStorage(empty_url, PoolSettings(timeout=0.5), migrates=True)
    async with other.transaction():
        await other.execute(HOLD_LOCK)
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await storage.check()
        assert time.monotonic() - began < DEADLINE_SECONDS

    await until(partial(is_ready, storage))
    await storage.close()
