"""Which callers a statement has: those of the calls that share it, and nobody else."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

import pytest

from adapters.postgres import Database, PoolSettings, PostgresTaskRepository, Statement
from adapters.postgres.callers import CALLERS, CallerObserver
from hextasks.testing.contract.calls import a_task, add
from tests.databases import Server, migrated
from tests.patience import DATABASE_TIMEOUT_SECONDS

pytestmark = pytest.mark.database
Result = TypeVar("Result")


class Noted(CallerObserver):
    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[object, ...]]] = []

    def finished(self, statement: Statement, started: float, error: BaseException | None) -> None:
        self.statements.append((statement.name, CALLERS.get()))


@pytest.fixture
async def noted() -> Noted:
    return Noted()


@pytest.fixture
async def tasks(server: Server, noted: Noted) -> AsyncIterator[PostgresTaskRepository]:
    settings = PoolSettings(timeout=DATABASE_TIMEOUT_SECONDS)
    database = Database(await migrated(server), settings, observers=(noted,))
    yield PostgresTaskRepository(database)
    await database.close()


def by(caller: str, call: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
    """Make a call in a task of a caller; without a name, of none."""
    context = copy_context()
    if caller:
        context.run(CALLERS.set, (caller,))
    return asyncio.get_running_loop().create_task(call, context=context)


async def test_calls_that_share_a_statement_are_its_callers(tasks: PostgresTaskRepository, noted: Noted) -> None:
    task = await add(tasks, a_task())
    noted.statements.clear()

    async def gotten(*callers: str) -> None:
        await asyncio.gather(*(by(caller, tasks.get(task.user_id, task.id)) for caller in callers))

    await gotten("a", "", "b", "a")
    await gotten("c")
    await gotten("")
    assert noted.statements == [("task_get_many", ("a", None, "b", "a")), ("task_get", ("c",)), ("task_get", (None,))]
    noted.statements.clear()
    many = [f"{n}" for n in range(40)]
    await gotten(*many)
    assert [caller for _, callers in noted.statements for caller in callers] == many


async def test_a_call_that_waits_is_not_a_caller_of_what_it_waits_for(
    tasks: PostgresTaskRepository, noted: Noted
) -> None:
    first = by("a", add(tasks, a_task()))
    while not noted.statements:
        await asyncio.sleep(0)
    await asyncio.gather(first, by("b", add(tasks, a_task())))
    assert noted.statements == [
        ("task_add_many", ("a",)),  # which finds no counter of the user
        ("task_add", ("a",)),
        ("task_add_many", ("b",)),
    ]
