"""Times, in a database that by default shows them in another time zone and style."""

from dataclasses import replace
from datetime import UTC
from typing import get_args
from urllib.parse import urlsplit

import asyncpg
import pytest

from adapters.postgres import Coalescing, Database, Executor, PostgresTaskRepository
from adapters.postgres.borrowed import PoolExecutor
from adapters.postgres.dsn import connect_arguments
from application import PageRequest
from domain import TaskChange
from hextasks.testing.contract.calls import LATER, a_task, add, save
from tests.databases import Server, migrated, patient
from tests.sql import fetch

pytestmark = pytest.mark.database

MOMENT = "SELECT timestamptz '2026-11-29 23:15Z'::text"
OPTIONS = "options=-c%20TimeZone%3DEurope/Berlin%20-c%20DateStyle%3DSQL"


@pytest.fixture(scope="module")
async def url(server: Server) -> str:
    url = await migrated(server)
    database = patient(url)
    for setting in ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German'"):
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
async def test_they_are_in_utc_on_our_connections(url: str, mode: Coalescing, query: str) -> None:
    database: Database = patient(f"{url}{'&' if '?' in url else '?'}{query}")
    await written_and_read(database, mode, f"{mode} {query}")
    await database.close()


async def test_and_on_those_of_the_caller(url: str) -> None:
    async with asyncpg.create_pool(**connect_arguments(url), min_size=1) as pool:
        assert await pool.fetchval(MOMENT) == "30.11.2026 05:00:00 +0545"
        await written_and_read(PoolExecutor(pool), "all", "caller")
