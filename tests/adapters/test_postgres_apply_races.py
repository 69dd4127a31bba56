"""Many writes at once against single ones of the same user, from two processes."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg
import pytest

from adapters.postgres import Coalescing, Database, PostgresTaskRepository
from adapters.postgres.apply_statement import APPLY
from application import (
    Applied,
    IdempotencyKeyUsed,
    Once,
    StateMismatch,
    TaskNotFound,
    VersionConflict,
    Write,
    WritesRejected,
)
from domain import Task, TaskChange
from hextasks.testing.contract.calls import LATER, a_task, add, state_of, walk
from tests.databases import patient
from tests.patience import until
from tests.sql import waits_for_a_lock

pytestmark = pytest.mark.database

MODES: list[Coalescing] = ["all", "user", "off"]
ONCE = Once(key="a key", fingerprint=b"")


@pytest.fixture
async def databases(url: str) -> AsyncIterator[tuple[Database, Database]]:
    both = patient(url), patient(url)
    yield both
    for database in both:
        await database.close()


def counted(task: Task) -> Task:
    return task.apply(TaskChange(title=str(int(task.title) + 1)), now=LATER)


class Failures:
    """The errors of one statement on the connections of a database."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.raised: list[type[BaseException]] = []
        run = database.fetch

        async def fetching(statement: Any, *arguments: Any, **named: Any) -> Any:
            try:
                return await run(statement, *arguments, **named)
            except asyncpg.PostgresError as error:
                if statement is APPLY:
                    self.raised.append(type(error))
                raise

        monkeypatch.setattr(database, "fetch", fetching)


@pytest.mark.unmeasured
@pytest.mark.parametrize(("mode", "other"), [pair for pair in product(MODES, MODES) if pair[0] <= pair[1]])
async def test_no_write_is_lost_and_none_is_done_in_part(
    databases: tuple[Database, Database], mode: Coalescing, other: Coalescing
) -> None:
    """Single writers count in one task each; many at once count in all of them, in the order of their choice."""
    repositories = [PostgresTaskRepository(d, coalescing=m) for d, m in zip(databases, (mode, other), strict=True)]
    made = [await add(repositories[0], a_task("0")) for _ in range(6)]
    chance, whole, reasons = random.Random(7), 0, set[type[Exception]]()

    async def count_one(tasks: PostgresTaskRepository, task: Task) -> None:
        for _ in range(10):
            while True:
                try:
                    await tasks.save(counted(await tasks.get("ada", task.id)))
                except VersionConflict:
                    continue
                break

    async def count_all(tasks: PostgresTaskRepository) -> None:
        nonlocal whole
        for _ in range(8):
            read = [*(await tasks.get_many("ada", [task.id for task in made])).values()]
            chance.shuffle(read)
            writes = [Write(kind="save", task=counted(task)) for task in read]
            try:
                applied = await tasks.apply("ada", writes, now=LATER)
            except WritesRejected as rejected:
                reasons.update(type(error) for error in rejected.errors.values())
            else:
                assert [result.version for result in applied.results] == [
                    *range(applied.state.number - 5, applied.state.number + 1)
                ]
                whole += 1

    await asyncio.gather(
        *(count_one(tasks, task) for tasks in repositories for task in made),
        *(count_all(tasks) for tasks in repositories for _ in range(2)),
    )
    listed = await walk(repositories[1], "ada", 9)
    assert [int(task.title) for task in listed] == [2 * 10 + whole] * 6
    await count_all(repositories[0])
    assert reasons <= {VersionConflict}
    assert whole >= 8, "without others, each one is carried out"


@pytest.mark.parametrize("kind", ["save", "remove", "keep"])
@pytest.mark.parametrize("is_removed", [True, False])
async def test_a_task_that_changes_while_the_statement_waits_is_judged_again(
    databases: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch, kind: Any, is_removed: bool
) -> None:
    """The statement has judged the writes when it waits for the counter, which a third transaction has locked."""
    tasks, failures = PostgresTaskRepository(databases[0]), Failures(databases[0], monkeypatch)
    good, stale = await add(tasks, a_task("0")), await add(tasks, a_task("0"))
    change = "DELETE FROM tasks WHERE id = $1" if is_removed else "UPDATE tasks SET version = 3 WHERE id = $1"
    writes = [Write(kind="save", task=counted(good)), Write(kind=kind, task=stale), Write(kind="add", task=a_task())]
    async with databases[1].connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE task_counters SET value = 3")
        await connection.execute(change, stale.id)
        applying = asyncio.create_task(tasks.apply("ada", writes, now=LATER, once=ONCE))
        await until(lambda: waits_for_a_lock(databases[1]))
        await transaction.commit()
    with pytest.raises(WritesRejected) as rejected:
        await applying
    expected = TaskNotFound if is_removed else VersionConflict
    assert {place: type(error) for place, error in rejected.value.errors.items()} == {1: expected}
    assert failures.raised == [asyncpg.DivisionByZeroError]
    assert await tasks.get("ada", good.id) == good
    assert (await state_of(tasks)).number == 3
    assert await tasks.recall("ada", ONCE) is None


async def test_a_state_that_changes_while_the_statement_waits_is_judged_again(
    databases: tuple[Database, Database],
) -> None:
    tasks = PostgresTaskRepository(databases[0])
    await tasks.add(a_task())
    state = await state_of(tasks)
    async with databases[1].connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE task_counters SET value = 2")
        writes = [Write(kind="add", task=a_task())]
        applying = asyncio.create_task(tasks.apply("ada", writes, now=LATER, if_state=state, once=ONCE))
        await until(lambda: waits_for_a_lock(databases[1]))
        await transaction.commit()
    with pytest.raises(StateMismatch):
        await applying
    assert len(await walk(tasks, "ada", 9)) == 1


@pytest.mark.unmeasured
@pytest.mark.parametrize(("mode", "other"), [("all", "all"), ("user", "off")])
async def test_of_duplicates_in_two_processes_one_is_carried_out(
    databases: tuple[Database, Database], mode: Coalescing, other: Coalescing
) -> None:
    repositories = [PostgresTaskRepository(d, coalescing=m) for d, m in zip(databases, (mode, other), strict=True)]
    for n in range(10):
        once = Once(key=str(n), fingerprint=b"")
        outcomes = await asyncio.gather(
            *(
                tasks.apply("ada", [Write(kind="add", task=a_task()) for _ in range(3)], now=LATER, once=once)
                for tasks in repositories
                for _ in range(4)
            ),
            return_exceptions=True,
        )
        (applied,) = (each for each in outcomes if isinstance(each, Applied))
        assert {type(each) for each in outcomes} == {Applied, IdempotencyKeyUsed}
        for tasks in repositories:
            recalled = await tasks.recall("ada", once)
            assert recalled
            assert (recalled.results, recalled.state) == (applied.results, applied.state)
    assert len(await walk(repositories[0], "ada", 500)) == (await state_of(repositories[0])).number == 30
