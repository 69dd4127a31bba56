"""The cost of changes, keys, batches and the purge: index ranges, whatever the size of the list, and round trips."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.postgres import Coalescing, Database, PoolSettings, PostgresTaskRepository, migrate
from adapters.postgres.apply_statement import APPLY, apply_arguments, decode_result, encode_result
from adapters.postgres.purge_statements import PURGE_KEYS, PURGE_REMOVALS
from adapters.postgres.shared_statements import shared_statements
from adapters.postgres.statement import Statement
from adapters.postgres.statements import ALL_STATES, CHANGES, RECALL, page_statement
from application import (
    ApplyBatch,
    ChangeOperation,
    CreateOperation,
    CreateTask,
    DeleteOperation,
    Once,
    Operation,
    Write,
)
from application.update_task import COMPLETION
from domain import Task, TaskChange, TaskDraft
from hextasks.testing.contract.calls import LATER, a_task
from tests.databases import Server, patient
from tests.patience import DATABASE_TIMEOUT_SECONDS
from tests.tenancy import generic_plan

pytestmark = pytest.mark.database

GET_MANY = shared_statements(one_user=True).get
FIRST_PAGE = page_statement(None, after=False, search=False)
TASKS, REMOVALS = 120_000, 30_000
"""Of ada. In the order of their numbers, tasks come first, then deletions."""


@pytest.fixture(scope="session")
async def crowded(server: Server) -> AsyncIterator[Database]:
    """One user with a long list, 2,000 others with a few tasks each, deletions and keys, with statistics fresh."""
    database = patient(await server.new_database())
    await migrate(database)
    async with database.connection() as connection:
        for statement in CROWD:
            await connection.execute(statement)
    yield database
    await database.close()


USER = "CASE WHEN n <= {count} THEN 'ada' ELSE 'user ' || n % 2000 END"
ID = "lpad(to_hex(n), 32, '0')::uuid"
MOMENT = "timestamptz '2026-01-01Z' + n * interval '1 s'"
CROWD = [
    f"""
    INSERT INTO tasks (user_id, id, title, created_at, updated_at, version)
    SELECT {USER.format(count=TASKS)}, {ID}, 'task', {MOMENT}, {MOMENT}, n FROM generate_series(1, {TASKS + 20_000}) n
    """,
    f"""
    INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
    SELECT {USER.format(count=REMOVALS)}, gen_random_uuid(), {TASKS} + n, {MOMENT}
    FROM generate_series(1, {REMOVALS + 20_000}) n
    """,
    f"INSERT INTO task_counters (user_id, value) SELECT user_id, {TASKS + REMOVALS} FROM tasks GROUP BY 1",
    f"""
    INSERT INTO idempotency_keys (user_id, key, fingerprint, number, epoch, result, stored_at)
    SELECT {USER.format(count=REMOVALS)}, n::text, '', n, 1, '[]', {MOMENT} FROM generate_series(1, {REMOVALS * 2}) n
    """,
    "VACUUM ANALYZE tasks, task_counters, task_tombstones, idempotency_keys",
]


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (CHANGES, {"task_counters_pkey", "tasks_by_version", "task_tombstones_by_version"}),
        (FIRST_PAGE, {"task_counters_pkey", "tasks_newest_first"}),
        (GET_MANY, {"tasks_pkey"}),
        (ALL_STATES, {"task_counters_pkey"}),
        (APPLY, {"task_counters_pkey", "tasks_pkey", "task_tombstones_pkey"}),
        (RECALL, {"idempotency_keys_pkey"}),
        (PURGE_REMOVALS, {"task_tombstones_by_age", "task_counters_pkey"}),
        (PURGE_KEYS, {"idempotency_keys_by_age"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_rows_are_found_through_an_index(crowded: Database, statement: Statement, indexes: set[str]) -> None:
    async with crowded.connection() as connection:
        explained = "\n".join(line[0] for line in await generic_plan(connection, statement.sql, "FORMAT TEXT"))
    assert all(f"using {index} on" in explained for index in indexes)
    assert "Seq Scan" not in explained
    assert "Bitmap" not in explained


@pytest.mark.parametrize("statement", [APPLY, GET_MANY], ids=lambda statement: statement.name)
async def test_each_task_is_found_by_two_columns(crowded: Database, url: str, statement: Statement) -> None:
    """By its id, or by its version, which is unique among those of its user; in a new table, too."""
    blank = patient(url)
    for database in (crowded, blank):
        async with database.connection() as connection:
            lines = [line[0] for line in await generic_plan(connection, statement.sql, "FORMAT TEXT")]
        conditions = [condition for scan, condition in pairwise(lines) if "Scan using tasks_" in scan]
        assert len(conditions) == (4 if statement is APPLY else 1)
        assert all(re.search(r"Index Cond: \(\(user_id = .+\) AND \((id|version) = .+", each) for each in conditions)
    await blank.close()


async def buffers(connection: asyncpg.Connection, statement: Statement, *arguments: Any) -> int:
    """Return how many pages a statement reads, those of its sub-selects counted twice at most. It is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement.sql}", *arguments
        )
    finally:
        await transaction.rollback()
    plan = json.loads(explained)[0]["Plan"]
    parts = [plan, *(each for each in plan.get("Plans", []) if each["Parent Relationship"] == "InitPlan")]
    return sum(part["Shared Hit Blocks"] + part["Shared Read Blocks"] for part in parts)


@pytest.mark.parametrize("number", [0, 60_000, TASKS - 25, TASKS + 10_000])
async def test_a_page_of_changes_costs_an_index_range(crowded: Database, number: int) -> None:
    """Each of 51 rows takes a page or two; a list of 120,000 takes thousands."""
    values = {"user_id": "ada", "number": number, "removals_after": number, "limit": 51}
    async with crowded.connection() as connection:
        assert await buffers(connection, CHANGES, *CHANGES.arguments(values)) < 150


async def test_a_list_that_is_known_reads_no_task(crowded: Database) -> None:
    tasks = PostgresTaskRepository(crowded)
    state = (await tasks.states(["ada"]))["ada"]
    values: dict[str, Any] = {"user_id": "ada", "limit": 51, "known_epoch": state.epoch, "known_number": state.number}
    async with crowded.connection() as connection:
        assert await buffers(connection, FIRST_PAGE, *FIRST_PAGE.arguments(values)) <= 5, "one row of the counters"
        values["known_number"] -= 1
        assert await buffers(connection, FIRST_PAGE, *FIRST_PAGE.arguments(values)) > 5


async def test_many_tasks_cost_as_many_searches_by_key(crowded: Database) -> None:
    stored = await PostgresTaskRepository(crowded).get_many("ada", [UUID(int=n) for n in range(1000, 100_001, 1000)])
    writes = [_write(place, task) for place, task in enumerate(stored.values())]
    once = Once(key="new", fingerprint=b"")
    arguments = apply_arguments("ada", writes, now=LATER, once=once, if_state=None)
    many = GET_MANY.arguments({"user_id": "ada", "id": [*stored]})
    async with crowded.connection() as connection:
        assert len(stored) == 100
        assert await buffers(connection, GET_MANY, *many) < 100 * 6
        assert await buffers(connection, APPLY, *arguments) < 100 * 100
        assert await buffers(connection, RECALL, "ada", "7") < 10


async def test_a_purge_costs_what_it_forgets(crowded: Database) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    async with crowded.connection() as connection:
        assert await buffers(connection, PURGE_REMOVALS, now, 100) < 100 * 20
        assert await buffers(connection, PURGE_KEYS, now, 100) < 100 * 20


def _write(place: int, task: Task) -> Write:
    match place % 4:
        case 0:
            return Write(kind="save", task=task.apply(COMPLETION, now=LATER))
        case 1:
            return Write(kind="remove", task=task)
        case 2:
            return Write(kind="keep", task=task)
    return Write(kind="add", task=a_task())


MODES: list[Coalescing] = ["all", "user", "off"]


@pytest.mark.parametrize("mode", MODES)
async def test_round_trips_of_batches_and_keyed_writes(url: str, mode: Coalescing) -> None:
    database = Database(url, PoolSettings(size=1, max_overflow=0, timeout=DATABASE_TIMEOUT_SECONDS))
    tasks = PostgresTaskRepository(database, coalescing=mode)
    batch = ApplyBatch(tasks=tasks, clock=SystemClock(), ids=Uuid7Ids())
    create = CreateTask(tasks=tasks, clock=SystemClock(), ids=Uuid7Ids())
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query)

    async def cost(call: Any) -> Any:
        sent.clear()
        outcome = await call
        await asyncio.sleep(0)  # the driver calls its loggers a turn later
        return outcome

    creates: list[Operation] = [CreateOperation(draft=TaskDraft(title=f"{n}")) for n in range(100)]
    await batch(actor="ada", user_id="ada", operations=creates)  # has the driver learn about types
    async with database.connection() as connection:  # the only one
        connection.add_query_logger(note)
    try:
        made = await cost(batch(actor="ada", user_id="ada", operations=creates, once=Once(key="k", fingerprint=b"")))
        assert sent == [APPLY.sql]
        mixed = [_operation(n, change.id) for n, change in enumerate(made.results)]
        assert len((await cost(batch(actor="ada", user_id="ada", operations=mixed))).results) == 100
        assert sent == [GET_MANY.sql, APPLY.sql]
        once = Once(key="one", fingerprint=b"")
        for statements in ([APPLY.sql], [APPLY.sql, "SELECT 1", RECALL.sql]):  # the pool checks after an error
            await cost(create(actor="ada", user_id="ada", draft=TaskDraft(title="x"), once=once))
            assert sent == statements
    finally:
        await database.close()


def _operation(place: int, task_id: UUID) -> Operation:
    match place % 4:
        case 0:
            return DeleteOperation(task_id=task_id)
        case 1:
            return ChangeOperation(task_id=task_id, change=TaskChange(title="changed"))
        case 2:
            return CreateOperation(draft=TaskDraft(title=f"{place}"), task_id=task_id)  # exists with this title
    return CreateOperation(draft=TaskDraft(title="new"))


def test_a_stored_result_takes_little_more_than_its_titles() -> None:
    title = "\N{GRINNING FACE}" * 500
    writes = [Write(kind="add", task=a_task(title=title))]
    assert len(encode_result(writes).encode()) < len(title.encode()) + 300
    assert decode_result(encode_result(writes)) == writes
