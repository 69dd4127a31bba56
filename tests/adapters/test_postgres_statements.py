"""The SQL: one round trip a write, the index that each query uses, and keys that begin with the user."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.postgres import Coalescing, Database, PostgresTaskRepository
from adapters.postgres.forget_statements import FORGET, FORGET_COUNTER
from adapters.postgres.shared_statements import shared_statements
from adapters.postgres.statement import Statement
from adapters.postgres.statements import ADD, GET, REMOVE, SAVE, page_statement
from adapters.postgres.tables import metadata
from domain import TaskChange
from hextasks.testing.contract.calls import LATER, a_task, add, save
from tests.databases import Server, migrated, patient
from tests.tenancy import generic_plan, judge

pytestmark = pytest.mark.database

ALL, USER = shared_statements(one_user=False), shared_statements(one_user=True)
SENT: dict[Coalescing, list[Statement]] = {
    "off": [ADD, SAVE, GET, REMOVE],
    "user": [ADD, SAVE, GET, REMOVE],  # a call that is not shared has its own statement
    "all": [ALL.add, ALL.save, GET, ALL.remove],
}
SHARED: dict[Coalescing, list[Statement]] = {
    "user": [USER.add, USER.save, USER.get, USER.remove],
    "all": [ALL.add, ALL.save, ALL.get, ALL.remove],
}


@pytest.fixture(scope="session")
async def crowded(server: Server) -> AsyncIterator[Database]:
    """Tasks of 2,000 users, of whom ada has 20,000, every tenth open, with statistics fresh."""
    database = patient(await migrated(server))
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


@pytest.fixture
async def blank(url: str) -> AsyncIterator[Database]:
    database = patient(url)
    yield database
    await database.close()


async def plan(database: Database, statement: Statement) -> str:
    async with database.connection() as connection:
        lines = await generic_plan(connection, statement.sql, "FORMAT TEXT")
    return "\n".join(line[0] for line in lines)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("completed", "index"),
    [(None, "tasks_newest_first"), (True, "tasks_completed_newest_first"), (False, "tasks_open_newest_first")],
)
async def test_a_page_is_read_in_order_from_its_index(
    crowded: Database, completed: bool | None, after: bool, index: str
) -> None:
    explained = await plan(crowded, page_statement(completed, after=after, search=False))
    assert f"Index Scan Backward using {index} on tasks" in explained
    assert "Sort" not in explained
    assert "ROW(created_at, id) <" in explained or not after
    assert f"Index Cond: {'(' * (1 + after)}" in explained


@pytest.mark.parametrize("mode", SENT)
async def test_a_task_is_found_by_its_key(crowded: Database, blank: Database, mode: Coalescing) -> None:
    """In a large table, and in one that is new, whose plans are kept while it grows."""
    for statement, database in itertools.product(SENT[mode] + SHARED.get(mode, []), (crowded, blank)):
        explained = await plan(database, statement)
        # A version belongs to one of the user's tasks, so that its index finds a single row, too.
        assert "tasks_pkey" in explained or "tasks_by_version" in explained or statement is ADD
        assert "Seq Scan" not in explained


@pytest.mark.parametrize("mode", SHARED)
async def test_the_first_plan_is_kept(crowded: Database, mode: Coalescing) -> None:
    """Planning takes longer than running: the planner must not expect to do better for fewer calls."""
    tasks = PostgresTaskRepository(crowded, coalescing=mode)
    for n in range(20):
        new = await asyncio.gather(add(tasks, a_task()), add(tasks, a_task()))
        stored = await asyncio.gather(*(tasks.get("ada", task.id) for task in new))
        change = TaskChange(title=f"title {n}")
        await asyncio.gather(*(save(tasks, task.apply(change, now=LATER)) for task in stored))
        await asyncio.gather(*(tasks.remove("ada", task.id, removed_at=LATER) for task in stored))
    async with crowded.connection() as connection:
        kept = await connection.fetch(
            "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement = ANY($1)",
            [statement.sql for statement in SHARED[mode]],
        )
    assert len(kept) == 4
    assert all(plans["custom_plans"] <= 5 < plans["generic_plans"] for plans in kept)


async def test_every_key_and_index_but_those_of_the_purge_begins_with_the_user(database: Database) -> None:
    async with database.connection() as connection:
        keys = await connection.fetch(
            """
            SELECT i.indexrelid::regclass::text AS name, a.attname AS leads
            FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = ANY ($1::text[]::regclass[])
            """,
            [*metadata.tables],
        )
    leads = {key["name"]: key["leads"] for key in keys}
    assert {table.primary_key.name for table in metadata.tables.values()} < leads.keys()
    others = {name: lead for name, lead in leads.items() if lead != "user_id"}
    assert others == {"task_tombstones_by_age": "removed_at", "idempotency_keys_by_age": "stored_at"}


@pytest.mark.parametrize("mode", SENT)
async def test_an_operation_is_one_round_trip(empty_database: Database, mode: Coalescing) -> None:
    database, tasks = empty_database, PostgresTaskRepository(empty_database, coalescing=mode)
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query)

    async def live() -> None:
        task = await add(tasks, a_task())
        task = await save(tasks, task.apply(TaskChange(title="Buy tea"), now=LATER))
        assert await tasks.get("ada", task.id) == task
        await tasks.remove("ada", task.id, removed_at=LATER)

    await live()  # makes the user's counter, and has the driver learn about types
    async with database.connection() as connection:  # the one the pool will lend again, last in, first out
        connection.add_query_logger(note)
    try:
        await live()
        await asyncio.sleep(0)  # the driver calls its loggers a turn later
    finally:
        connection.remove_query_logger(note)
    assert sent == [statement.sql for statement in SENT[mode]]


@pytest.mark.parametrize("statement", [FORGET, FORGET_COUNTER])
async def test_one_user_alone_is_forgotten(database: Database, statement: Statement) -> None:
    async with database.connection() as connection:
        verdict = await judge(connection, statement.sql, ("ada", 7, 1000), "ada")
    assert verdict.wrongs == []
    assert verdict.tables >= ({"task_counters"} if statement is FORGET_COUNTER else metadata.tables.keys())


async def test_a_removal_leaves_a_tombstone_with_its_number(
    database: Database, postgres_tasks: PostgresTaskRepository
) -> None:
    task = await add(postgres_tasks, a_task())
    await postgres_tasks.remove("ada", task.id, removed_at=LATER)
    async with database.connection() as connection:
        tombstones = await connection.fetch("SELECT * FROM task_tombstones")
    assert [tuple(tombstone) for tombstone in tombstones] == [("ada", task.id, 2, LATER)]
