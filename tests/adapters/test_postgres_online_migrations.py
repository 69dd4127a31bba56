"""Migrations of a database that is in use: no write waits for them, an interrupted one is completed, search keys."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from alembic import command

from adapters.postgres import Database, migrate
from adapters.postgres.dsn import connect_arguments
from adapters.postgres.search_keys import fill_search_keys
from application import StorageUnavailable
from domain import search_key
from tests.adapters.test_postgres_migrations import alembic
from tests.patience import until
from tests.sql import fetch, waits_for_a_lock

pytestmark = pytest.mark.database
USERS = 20
IDLE = "user_id LIKE 'idle-%'"
"""Of the users whose tasks nothing writes."""
ROWS = 20_000
POPULATE = f"""
    INSERT INTO tasks (user_id, id, title, created_at, updated_at, version)
    SELECT (CASE n % 2 WHEN 0 THEN 'ada-' ELSE 'idle-' END) || n % {USERS}, gen_random_uuid(),
        CASE n % 5 WHEN 0 THEN 'ÄRGER mit Straße ' ELSE 'Buy Milk ' END || n,
        now() - interval '1 day', now() - interval '1 day', n
    FROM generate_series(1, {ROWS}) AS n;
    INSERT INTO task_counters (user_id, value) SELECT user_id, max(version) FROM tasks GROUP BY user_id;
    INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
    SELECT user_id, gen_random_uuid(), version, now() FROM tasks
"""
# The statements of the version before these migrations.
ADD = """
    WITH counter AS (
        INSERT INTO task_counters (user_id, value) VALUES ($1, 1)
        ON CONFLICT (user_id) DO UPDATE SET value = task_counters.value + 1 RETURNING value
    )
    INSERT INTO tasks (user_id, id, title, created_at, updated_at, completed_at, version)
    SELECT $1, $2, $3, now(), now(), NULL, counter.value FROM counter RETURNING version
"""
SAVE = """
    WITH counter AS (
        UPDATE task_counters SET value = value + 1
        WHERE user_id = $1 AND EXISTS (SELECT 1 FROM tasks WHERE user_id = $1 AND id = $2) RETURNING value
    )
    UPDATE tasks SET title = $3, updated_at = now(), completed_at = now(), version = counter.value
    FROM counter WHERE user_id = $1 AND id = $2 RETURNING version
"""
REMOVE = """
    WITH counter AS (
        UPDATE task_counters SET value = value + 1
        WHERE user_id = $1 AND EXISTS (SELECT 1 FROM tasks WHERE user_id = $1 AND id = $2) RETURNING value
    ),
    gone AS (
        DELETE FROM tasks USING counter WHERE user_id = $1 AND id = $2 AND counter.value > 0 RETURNING id
    )
    INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
    SELECT $1, gone.id, counter.value, now() FROM gone, counter RETURNING version
"""
WRITES = ((ADD, "Ärger"), (SAVE, "Öl kaufen"), (SAVE, "Buy Oil"), (REMOVE,))
LONGEST_WAIT = "1s"
"""Of a write for a lock, on a busy machine."""
INDEXES = ("tasks_by_version", "task_tombstones_by_version", "task_tombstones_by_age")
BUILDS = "FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.fixture
async def used(empty: Database) -> Database:
    """A populated database of the version before."""
    await alembic(empty, command.upgrade, "0001")
    async with empty.connection() as connection:
        await connection.execute(POPULATE)
        await connection.execute("ANALYZE")
    return empty


@pytest.fixture
async def other(empty_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**connect_arguments(empty_url))
    yield connection
    connection.terminate()


class Writers:
    """Clients of the version before, each with a user of its own."""

    def __init__(self) -> None:
        self.done = 0

    async def progress(self, writes: int = 100) -> None:
        """Wait until they have made so many more writes."""
        enough = self.done + writes

        async def is_reached() -> bool:
            return self.done >= enough

        await until(is_reached)

    async def write(self, url: str, user_id: str) -> None:
        """Write until cancelled; fails when a write waits too long, changes nothing, or takes a wrong number."""
        connection = await asyncpg.connect(**connect_arguments(url))
        try:
            await connection.execute(f"SET lock_timeout = '{LONGEST_WAIT}'")
            last = await connection.fetchval("SELECT value FROM task_counters WHERE user_id = $1", user_id) or 0
            for statement, task_id in writes():
                version = await connection.fetchval(statement[0], user_id, task_id, *statement[1:])
                assert version == last + 1
                last = version
                self.done += 1
        finally:
            connection.terminate()


def writes() -> Iterator[tuple[tuple[str, ...], UUID]]:
    for _ in itertools.count():
        task_id = uuid4()
        yield from ((statement, task_id) for statement in WRITES[: 4 if task_id.int % 2 else 3])


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[Writers]:
    """Write during the block. Fails if one of the writers did."""
    writers = Writers()
    tasks = [asyncio.create_task(writers.write(url, f"ada-{user}")) for user in (0, 2, "new", "newer")]
    try:
        await writers.progress()
        yield writers
        await writers.progress()
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [repr(each) for each in ended if not isinstance(each, asyncio.CancelledError)] == []


async def idle_rows(database: Database) -> list[Any]:
    columns = "user_id, id, title, created_at, updated_at, completed_at, version"
    return await fetch(database, f"SELECT {columns} FROM tasks WHERE {IDLE} ORDER BY user_id, id")


async def valid_indexes(database: Database) -> dict[str, bool]:
    found = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = ANY ($1)"
    return {row["relname"]: row["indisvalid"] for row in await fetch(database, found, [*INDEXES])}


async def wrong_keys(database: Database) -> int:
    rows = await fetch(database, "SELECT title, title_key FROM tasks")
    assert len(rows) >= ROWS
    return sum(row["title_key"] != (None if row["title"].isascii() else search_key(row["title"])) for row in rows)


def is_building(database: Database) -> Callable[[], Awaitable[bool]]:
    """Return a test whether the build of an index waits for a transaction."""

    async def is_waiting() -> bool:
        return bool(await fetch(database, f"SELECT {BUILDS} AND phase LIKE 'waiting%'"))

    return is_waiting


@pytest.mark.unmeasured
async def test_no_write_waits_for_a_migration(used: Database, empty_url: str, other: asyncpg.Connection) -> None:
    before = await idle_rows(used)
    async with writing(empty_url) as writers:
        await alembic(used, command.upgrade, "0003")
        await writers.progress()
        # A lock that the open transaction delays would delay all writes after it.
        async with other.transaction():
            await other.execute(ADD, "grace", uuid4(), "Buy tea")
            migration = asyncio.create_task(migrate(used))
            await until(is_building(used))
            await writers.progress(1000)
            assert not migration.done()
        await migration
        await writers.progress()
        await fill_search_keys(used)
    assert await valid_indexes(used) == dict.fromkeys(INDEXES, True)
    assert await idle_rows(used) == before
    epochs = await fetch(used, "SELECT epoch, purged_to FROM task_counters")
    assert all(0 < row["epoch"] < 2**48 and row["purged_to"] == 0 for row in epochs)

    # What the version before has written since is corrected by the next run.
    await fill_search_keys(used)
    assert await wrong_keys(used) == 0
    assert await fill_search_keys(used) == 0
    assert await idle_rows(used) == before

    await alembic(used, command.downgrade, "0001")
    assert await idle_rows(used) == before
    async with writing(empty_url):
        pass
    await migrate(used)
    await alembic(used, command.check)
    await fill_search_keys(used)
    assert await wrong_keys(used) == 0


async def test_an_interrupted_build_is_done_again(used: Database, other: asyncpg.Connection) -> None:
    await alembic(used, command.upgrade, "0003")
    async with other.transaction():
        await other.execute(ADD, "grace", uuid4(), "Buy tea")
        migration = asyncio.create_task(migrate(used))
        await until(is_building(used))
        await fetch(used, f"SELECT pg_terminate_backend(pid) {BUILDS}")
        with pytest.raises(StorageUnavailable):
            await migration
    assert await valid_indexes(used) == {"tasks_by_version": False}
    await migrate(used)
    assert await valid_indexes(used) == dict.fromkeys(INDEXES, True)


async def test_an_index_that_was_completed_is_kept(used: Database) -> None:
    await alembic(used, command.upgrade, "0004")
    oids = "SELECT oid FROM pg_class WHERE relname = ANY ($1) ORDER BY oid"
    kept = await fetch(used, oids, INDEXES[:2])
    await fetch(used, "DROP INDEX task_tombstones_by_age")
    await fetch(used, "UPDATE hextasks_version SET version_num = '0003'")
    await alembic(used, command.upgrade, "0004")
    assert await fetch(used, oids, INDEXES[:2]) == kept
    assert await valid_indexes(used) == dict.fromkeys(INDEXES, True)


async def test_a_task_that_is_renamed_meanwhile_keeps_its_own_key(used: Database, other: asyncpg.Connection) -> None:
    await alembic(used, command.upgrade, "head")
    async with other.transaction():
        renamed = await other.fetchval(
            "UPDATE tasks SET title = 'ÖL', title_key = 'öl', updated_at = now(), version = version + 1"
            " WHERE ctid = (SELECT ctid FROM tasks WHERE title LIKE 'ÄRGER%' LIMIT 1) RETURNING id"
        )
        filling = asyncio.create_task(fill_search_keys(used))
        await until(partial(waits_for_a_lock, used))
    assert await filling == ROWS / 5 - 1
    assert [*(await fetch(used, "SELECT title, title_key FROM tasks WHERE id = $1", renamed))[0]] == ["ÖL", "öl"]
    assert await wrong_keys(used) == 0
