"""Shared statements on a real server: foreign locks, failures of a whole statement, and the numbers of writes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg
import pytest

from adapters.postgres import Coalescing, Database, PostgresTaskRepository
from application import StorageUnavailable, TaskAlreadyExists, TaskNotFound, VersionConflict, Written
from domain import Task, TaskChange
from hextasks.testing.contract.calls import LATER, a_task, add, save
from tests.adapters.test_postgres_lost import end_the_active
from tests.databases import patient
from tests.sql import fetch

pytestmark = pytest.mark.database

USERS = ["ada", "grace", "alan"]


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = patient(url)
    yield database
    await database.close()


@pytest.fixture
def tasks(database: Database) -> PostgresTaskRepository:
    return PostgresTaskRepository(database)


async def outcomes(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def renamed(task: Task, title: str = "Buy tea") -> Task:
    return task.apply(TaskChange(title=title), now=LATER)


@pytest.mark.parametrize("table", ["task_counters", "tasks"])
async def test_a_foreign_lock_delays_its_user_only(
    database: Database, tasks: PostgresTaskRepository, table: str
) -> None:
    saved, removed, hers = [await add(tasks, a_task()) for _ in range(3)]
    others = [await add(tasks, a_task(user_id=user)) for user in USERS[1:] for _ in range(2)]
    async with database.connection() as connection:
        lock = connection.transaction()
        await lock.start()
        await connection.execute(f"SELECT * FROM {table} WHERE user_id = 'ada' FOR UPDATE")
        saving = asyncio.create_task(save(tasks, renamed(saved)))
        removing = asyncio.create_task(tasks.remove("ada", removed.id, removed_at=LATER))
        for task in others:
            await asyncio.gather(
                add(tasks, a_task(user_id=task.user_id)),
                save(tasks, renamed(task)),
                tasks.get("ada", hers.id),
            )
            await tasks.remove(task.user_id, task.id, removed_at=LATER)
        assert not saving.done()
        assert not removing.done()
        await lock.rollback()
    assert (await saving).version == 4
    await removing
    assert (await add(tasks, a_task())).version == 6


class TestAStatementThatFails:
    async def test_only_the_call_at_fault_is_rejected(self, tasks: PostgresTaskRepository) -> None:
        stored = [await add(tasks, a_task(user_id=user)) for user in USERS]
        bad = a_task()
        object.__setattr__(bad, "title", " not stripped")
        first, *others = await outcomes(add(tasks, bad), *(add(tasks, a_task(user_id=user)) for user in USERS))
        assert isinstance(first, asyncpg.CheckViolationError)
        assert [task.version for task in others] == [2, 2, 2]
        changed = [renamed(task) for task in stored]
        object.__setattr__(changed[0], "title", "x" * 501)
        first, *others = await outcomes(*(save(tasks, task) for task in changed))
        assert isinstance(first, asyncpg.CheckViolationError)
        assert [task.version for task in others] == [3, 3]

    async def test_a_call_that_fails_repeatedly_fails_alone(
        self, database: Database, tasks: PostgresTaskRepository
    ) -> None:
        stored = [await add(tasks, a_task(user_id=user)) for user in USERS]
        await before_update(database, "RAISE EXCEPTION USING ERRCODE = 'serialization_failure'", "ada")
        first, *others = await outcomes(*(save(tasks, renamed(task)) for task in stored))
        assert isinstance(first, StorageUnavailable)
        assert [task.version for task in others] == [2, 2]

    async def test_a_lost_connection_fails_each_write_and_no_read(
        self, url: str, database: Database, tasks: PostgresTaskRepository
    ) -> None:
        stored = [await add(tasks, a_task(user_id=user)) for user in USERS]
        await before_update(database, "PERFORM pg_sleep(60)", "ada")
        writes = [asyncio.create_task(save(tasks, renamed(task))) for task in stored]
        await end_the_active(url, "WITH wanted%")
        assert [type(outcome) for outcome in await outcomes(*writes)] == [StorageUnavailable] * 3
        assert await asyncio.gather(*(tasks.get(task.user_id, task.id) for task in stored)) == stored
        await fetch(database, "DROP TRIGGER fault ON tasks")
        saved = await asyncio.gather(*(save(tasks, renamed(task)) for task in stored))
        assert [task.version for task in saved] == [2, 2, 2]

    @pytest.mark.parametrize("mode", ["all", "user", "off"])
    async def test_a_row_that_cannot_be_decoded_fails_the_reads_of_it_only(
        self, database: Database, mode: Coalescing
    ) -> None:
        tasks = PostgresTaskRepository(database, coalescing=mode)
        bad, good, other = [await add(tasks, a_task(user_id=user)) for user in ("ada", "ada", "grace")]
        await fetch(database, "UPDATE tasks SET created_at = '-infinity' WHERE id = $1", bad.id)
        failed, *found = await outcomes(*(tasks.get(task.user_id, task.id) for task in (bad, good, other)))
        assert isinstance(failed, ValueError)
        assert found == [good, other]


async def before_update(database: Database, action: str, user: str) -> None:
    """Create a trigger that acts when a task of a user is updated."""
    await fetch(
        database,
        f"CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$",
    )
    await fetch(
        database,
        "CREATE TRIGGER fault BEFORE UPDATE ON tasks FOR EACH ROW "
        f"WHEN (NEW.user_id = '{user}') EXECUTE FUNCTION act()",
    )


async def test_each_call_of_a_statement_is_rejected_for_its_own_reason(tasks: PostgresTaskRepository) -> None:
    kept, stale, gone = [await add(tasks, a_task()) for _ in range(3)]
    await tasks.save(renamed(stale, "newer"))
    await tasks.remove("ada", gone.id, removed_at=LATER)
    other = await add(tasks, a_task(user_id="grace"))
    assert [type(outcome) for outcome in await outcomes(*(save(tasks, renamed(t)) for t in (stale, gone, other)))] == [
        VersionConflict,
        TaskNotFound,
        Task,
    ]
    assert [type(outcome) for outcome in await outcomes(*(add(tasks, a_task(id=i)) for i in (kept.id, gone.id)))] == [
        TaskAlreadyExists,
        TaskAlreadyExists,
    ]
    removals = [(kept.id, 99), (a_task().id, None), (a_task().id, 1), (stale.id, None)]
    assert [
        type(outcome)
        for outcome in await outcomes(
            *(tasks.remove("ada", i, removed_at=LATER, expected_version=version) for i, version in removals)
        )
    ] == [VersionConflict, TaskNotFound, TaskNotFound, Written]
    assert (await add(tasks, a_task())).version == 7, "what is rejected takes no number"


MODES: list[Coalescing] = ["all", "user", "off"]


@pytest.mark.unmeasured
@pytest.mark.parametrize(("mode", "other"), [pair for pair in product(MODES, MODES) if pair[0] <= pair[1]])
async def test_numbers_are_committed_in_order(
    url: str, database: Database, mode: Coalescing, other: Coalescing
) -> None:
    """Two processes write for the same users; every snapshot with a number contains all numbers before it."""
    another = patient(url)
    repositories = [
        PostgresTaskRepository(database, coalescing=mode),
        PostgresTaskRepository(another, coalescing=other),
    ]
    given, snapshots = Counter[str](), set[int]()

    async def look() -> None:
        while not all(writer.done() for writer in writers):
            rows = await fetch(database, SEEN)
            for row in rows:
                assert row["numbers"] == [*range(1, row["value"] + 1)], row["user_id"]
            snapshots.add(sum(row["value"] for row in rows))

    async def write(tasks: PostgresTaskRepository, user: str) -> None:
        writes = 0
        while writes < 12 or len(snapshots) < 5:
            await tasks.add(a_task(user_id=user))
            writes += 1
        given[user] += writes

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write(tasks, user)) for tasks in repositories for user in USERS for _ in range(4)]
        group.create_task(look())
    assert {row["user_id"]: row["value"] for row in await fetch(database, SEEN)} == given
    await another.close()


SEEN = """
SELECT user_id, value, array_agg(version ORDER BY version) AS numbers
FROM task_counters JOIN tasks USING (user_id) GROUP BY user_id, value
"""


@pytest.mark.unmeasured
@pytest.mark.parametrize(("mode", "other"), [("all", "all"), ("all", "off"), ("user", "user")])
async def test_two_processes_lose_no_update(url: str, database: Database, mode: Coalescing, other: Coalescing) -> None:
    """All write to few tasks of few users: each version is given once, and each save follows the one that it read."""
    another = patient(url)
    repositories = [
        PostgresTaskRepository(database, coalescing=mode),
        PostgresTaskRepository(another, coalescing=other),
    ]
    made = [await add(repositories[0], a_task("0", user_id=user)) for user in USERS for _ in range(2)]
    given: list[tuple[str, int]] = []

    async def count(tasks: PostgresTaskRepository, task: Task) -> None:
        for _ in range(5):
            while True:
                read = await tasks.get(task.user_id, task.id)
                try:
                    saved = await save(tasks, renamed(read, str(int(read.title) + 1)))
                except VersionConflict:
                    continue
                given.append((saved.user_id, saved.version))
                break

    await asyncio.gather(*(count(tasks, task) for tasks in repositories for task in made for _ in range(3)))
    assert len(set(given)) == len(given)
    assert [(await repositories[0].get(task.user_id, task.id)).title for task in made] == ["30"] * 6
    await another.close()
