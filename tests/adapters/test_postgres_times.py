"""Times, in a database that by default shows them in another time zone and style."""

from dataclasses import replace
from datetime import UTC
from typing import get_args
from urllib.parse import urlsplit

import asyncpg
import pytest

from adapters.postgres import Coalescing, Database, Executor, PoolSettings, PostgresTaskRepository
from adapters.postgres.borrowed import PoolExecutor
from adapters.postgres.dsn import connect_arguments
from application import PageRequest
from domain import TaskChange
from hextasks.testing.contract.calls import LATER, a_task, add, save
from tests.databases import Server, migrated, patient
from tests.patience import DATABASE_TIMEOUT_SECONDS
from tests.sql import fetch

pytestmark = pytest.mark.database

SETTINGS = ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German'")
MOMENT = "SELECT timestamptz '2026-11-29 23:15Z'::text"
SHOWN = "30.11.2026 05:00:00 +0545"
OPTIONS = "options=-c%20TimeZone%3DEurope/Berlin%20-c%20DateStyle%3DSQL"


@pytest.fixture(scope="module")
async def url(server: Server) -> str:
    url = await migrated(server)
    database = patient(url)
    for setting in SETTINGS:
        await fetch(database, f"ALTER DATABASE {urlsplit(url).path[1:]} SET {setting}")
    await database.close()
    return url


async def written_and_read(executor: Executor, mode: Coalescing, user: str) -> None:
    tasks = PostgresTaskRepository(executor, coalescing=mode)
    task = await add(tasks, a_task(user_id=user))
    stored = await save(tasks, task.apply(TaskChange(is_completed=True), now=LATER))
    [listed] = (await tasks.list(user, PageRequest())).tasks
    for found in (stored, await tasks.get(user, task.id), listed):
        assert found == replace(task, updated_at=LATER, completed_at=LATER, version=2)
        assert {found.created_at.tzinfo, found.updated_at.tzinfo} == {UTC}


@pytest.mark.parametrize("mode", get_args(Coalescing))
@pytest.mark.parametrize("query", ["", OPTIONS, f"pgbouncer=true&{OPTIONS}"])
async def test_times_are_in_utc_on_our_connections(url: str, mode: Coalescing, query: str) -> None:
    database: Database = patient(f"{url}{'&' if '?' in url else '?'}{query}")
    await written_and_read(database, mode, f"{mode} {query}")
    await database.close()


@pytest.mark.parametrize("mode", get_args(Coalescing))
async def test_times_are_in_utc_behind_a_pooler_where_another_client_has_set_the_session(
    url: str, mode: Coalescing
) -> None:
    settings = PoolSettings(size=1, max_overflow=0, timeout=DATABASE_TIMEOUT_SECONDS)
    database = Database(f"{url}{'&' if '?' in url else '?'}pgbouncer=true", settings)
    async with database.connection() as connection:
        for setting in SETTINGS:
            await connection.execute(f"SET {setting}")
    await written_and_read(database, mode, f"{mode} pooler")
    async with database.connection() as connection:
        assert await connection.fetchval(MOMENT) == SHOWN
    await database.close()


async def test_times_are_in_utc_on_connections_of_the_caller(url: str) -> None:
    async with asyncpg.create_pool(**connect_arguments(url), min_size=1) as pool:
        assert await pool.fetchval(MOMENT) == SHOWN
        await written_and_read(PoolExecutor(pool), "all", "caller")
