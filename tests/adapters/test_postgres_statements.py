"""The SQL: one round trip a write, the indexes that each query is planned onto, and keys led by the user."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from adapters.postgres import Database, PostgresTaskRepository, migrate
from adapters.postgres.statements import ADD, GET, PAGES, REMOVE, SAVE, Statement
from tests.contract.test_task_repository import LATER, NOW, a_task
from tests.databases import Server

pytestmark = pytest.mark.database

ANYTHING = {
    "user_id": "ada",
    "id": uuid4(),
    "title": "Buy milk",
    "created_at": NOW,
    "updated_at": NOW,
    "completed_at": None,
    "removed_at": NOW,
    "version": 1,
    "after_created_at": NOW,
    "after_id": uuid4(),
    "limit": 51,
}
ALL = {"ADD": ADD, "SAVE": SAVE, "REMOVE": REMOVE, "GET": GET} | {f"PAGE {key}": page for key, page in PAGES.items()}


@pytest.fixture(scope="session")
async def crowded(server: Server) -> AsyncIterator[Database]:
    """Tasks of 2,000 users, of whom ada has 20,000, every tenth open, with statistics fresh."""
    database = Database(await server.new_database())
    await migrate(database)
    async with database.connection() as connection:
        await connection.execute(
            """
            INSERT INTO tasks (user_id, id, title, created_at, updated_at, completed_at, version)
            SELECT CASE WHEN n <= 20000 THEN 'ada' ELSE 'user ' || n % 2000 END, gen_random_uuid(), 'task ' || n,
                   moment, moment, CASE WHEN n % 10 > 0 THEN moment END, n
            FROM generate_series(1, 40000) n, LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 s') m(moment)
            """
        )
        await connection.execute("INSERT INTO task_counters SELECT user_id, max(version) FROM tasks GROUP BY 1")
        await connection.execute("VACUUM ANALYZE tasks, task_counters")
    yield database
    await database.close()


async def plan(database: Database, statement: Statement) -> str:
    """Explain as for a statement prepared long ago, whose plan fits every user."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        arguments = statement.arguments(ANYTHING)
        lines = await connection.fetch(f"EXPLAIN (COSTS OFF) {statement.sql}", *arguments)
    return "\n".join(line[0] for line in lines)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("completed", "index"),
    [(None, "tasks_newest_first"), (True, "tasks_completed_newest_first"), (False, "tasks_open_newest_first")],
)
async def test_a_page_is_read_in_order_from_its_index(
    crowded: Database, completed: bool | None, after: bool, index: str
) -> None:
    explained = await plan(crowded, PAGES[completed, after])
    assert f"Index Scan Backward using {index} on tasks" in explained
    assert "Sort" not in explained
    assert "ROW(created_at, id) <" in explained or not after
    assert f"Index Cond: {'(' * (1 + after)}" in explained


@pytest.mark.parametrize("name", ["SAVE", "REMOVE", "GET"])
async def test_one_task_is_found_by_its_key(crowded: Database, name: str) -> None:
    explained = await plan(crowded, ALL[name])
    assert "tasks_pkey" in explained
    assert "Seq Scan" not in explained


async def test_every_key_and_index_is_led_by_the_user(database: Database) -> None:
    async with database.connection() as connection:
        keys = await connection.fetch(
            """
            SELECT i.indexrelid::regclass::text AS name, a.attname AS leads
            FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid IN ('tasks'::regclass, 'task_counters'::regclass, 'task_tombstones'::regclass)
            """
        )
    assert {key["leads"] for key in keys} == {"user_id"}
    assert {"tasks_pkey", "task_counters_pkey", "task_tombstones_pkey"} < {key["name"] for key in keys}


@pytest.mark.parametrize("name", ALL)
def test_every_statement_names_the_user_for_every_table(name: str) -> None:
    sql = ALL[name].sql
    assert "user_id" in sql
    for table in ("tasks", "task_counters", "task_tombstones"):
        for verb in ("FROM", "UPDATE"):
            if f"{verb} {table} " in sql.replace("\n", " "):
                assert f"{table}.user_id = $" in sql


async def test_a_write_is_one_round_trip(database: Database, postgres_tasks: PostgresTaskRepository) -> None:
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query)

    async with database.connection() as connection:  # the one the pool will lend again, last in, first out
        connection.add_query_logger(note)
    try:
        task = await postgres_tasks.add(a_task())
        task = await postgres_tasks.save(task.rename("Buy tea", now=LATER))
        assert await postgres_tasks.get("ada", task.id) == task
        await postgres_tasks.remove("ada", task.id, removed_at=LATER)
        await asyncio.sleep(0)  # the driver calls its loggers a turn later
    finally:
        connection.remove_query_logger(note)
    assert sent == [ADD.sql, SAVE.sql, GET.sql, REMOVE.sql]


async def test_a_removal_leaves_a_tombstone_with_its_number(
    database: Database, postgres_tasks: PostgresTaskRepository
) -> None:
    task = await postgres_tasks.add(a_task())
    await postgres_tasks.remove("ada", task.id, removed_at=LATER)
    async with database.connection() as connection:
        tombstones = await connection.fetch("SELECT * FROM task_tombstones")
    assert [tuple(tombstone) for tombstone in tombstones] == [("ada", task.id, 2, LATER)]
