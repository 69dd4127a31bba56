"""Tasks within a transaction of the caller's, beside rows of the caller's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from domain import TaskChange
from hextasks import (
    CreateOperation,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskDraft,
    TaskNotFound,
    UserTasks,
    VersionConflict,
    WritesRejected,
    open_tasks,
)
from tests.patience import DATABASE_TIMEOUT_SECONDS as TIMEOUT
from tests.patience import until

pytestmark = pytest.mark.database
Transaction: TypeAlias = AsyncConnection | AsyncSession


@pytest.fixture(params=[AsyncConnection, AsyncSession])
async def transaction(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Transaction]:
    async with engine.connect() if request.param is AsyncConnection else AsyncSession(engine) as transaction:
        yield transaction


@pytest.fixture
async def ada(transaction: Transaction) -> AsyncIterator[UserTasks]:
    async with open_tasks(transaction, timeout=TIMEOUT) as tasks:
        yield tasks.of(f"ada {uuid4()}")


@pytest.fixture
async def outside(engine: AsyncEngine, ada: UserTasks) -> AsyncIterator[UserTasks]:
    """The same user beside the transaction."""
    async with open_tasks(engine, timeout=TIMEOUT) as tasks:
        yield tasks.of(ada.user_id)


async def order(transaction: Transaction, ada: UserTasks) -> None:
    """Insert a row of the caller's own."""
    await transaction.execute(text("INSERT INTO orders VALUES (:id)"), {"id": f"{ada.user_id} {uuid4()}"})


async def seen(ada: UserTasks, pool: "asyncpg.Pool[Any]", outside: UserTasks) -> tuple[int, int]:
    """Return how many orders and tasks there are for others."""
    orders = await pool.fetchval("SELECT count(*) FROM orders WHERE starts_with(id, $1)", ada.user_id)
    return orders, len((await outside.list()).tasks)


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
async def test_tasks_and_rows_share_their_fate(
    transaction: Transaction, ada: UserTasks, outside: UserTasks, pool: Any, commits: bool, is_first: bool
) -> None:
    if not is_first:
        await order(transaction, ada)
    await ada.create("Buy milk")
    await order(transaction, ada)
    assert len((await ada.list()).tasks) == 1
    assert await seen(ada, pool, outside) == (0, 0)
    await (transaction.commit() if commits else transaction.rollback())
    assert await seen(ada, pool, outside) == ((1 if is_first else 2, 1) if commits else (0, 0))
    await ada.create("In the next transaction")
    await transaction.commit()
    assert len((await outside.list()).tasks) == 1 + commits


async def test_a_rejected_write_leaves_the_transaction_usable(
    transaction: Transaction, ada: UserTasks, outside: UserTasks, pool: Any
) -> None:
    await order(transaction, ada)
    task = (await ada.create("Buy milk")).task
    with pytest.raises(TaskAlreadyExists):
        await ada.create("Buy tea", task_id=task.id)
    with pytest.raises(VersionConflict):
        await ada.update(task.id, TaskChange(title="Buy tea"), expected_version=7)
    with pytest.raises(TaskNotFound):
        await ada.delete(uuid4())
    draft = TaskDraft(title="Buy tea")
    with pytest.raises(WritesRejected):
        await ada.apply([CreateOperation(draft=draft), CreateOperation(draft=draft, task_id=task.id)])
    await order(transaction, ada)
    await ada.complete(task.id)
    await transaction.commit()
    assert await seen(ada, pool, outside) == (2, 1)


async def test_a_cancelled_call_never_costs_a_row_silently(
    transaction: Transaction, ada: UserTasks, outside: UserTasks, pool: Any
) -> None:
    committed = 0
    for turns in range(0, 120, 3):  # of the event loop, in which the call gets as far as it can
        await order(transaction, ada)
        call = asyncio.create_task(ada.create("Buy milk"))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        try:
            await transaction.commit()
            committed += 1
        except (DBAPIError, asyncpg.InterfaceError):
            await transaction.rollback()
    assert (await seen(ada, pool, outside))[0] == committed


async def test_concurrent_calls_run_in_turn(transaction: Transaction, ada: UserTasks, outside: UserTasks) -> None:
    made = await asyncio.gather(*(ada.create(f"task {n}") for n in range(10)))
    await asyncio.gather(*(ada.get(each.task.id) for each in made), ada.list(), ada.changes())
    assert sorted(each.task.version for each in made) == [*range(1, 11)]
    await transaction.commit()
    assert len((await outside.list()).tasks) == 10


async def test_a_savepoint_of_the_callers(transaction: Transaction, ada: UserTasks, outside: UserTasks) -> None:
    await ada.create("Buy milk")
    async with transaction.begin_nested() as nested:
        await ada.create("Buy tea")
        await nested.rollback()
    await transaction.commit()
    assert [task.title for task in (await outside.list()).tasks] == ["Buy milk"]


async def test_autocommit_is_refused(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, open_tasks(connection) as tasks:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for call in (tasks.of("ada").create("Buy milk"), tasks.of("ada").list()):
            with pytest.raises(RuntimeError, match="autocommit mode"):
                await call


class TestBlocked:
    """A call waits for another transaction of the same user."""

    @pytest.fixture(autouse=True)
    async def other(self, engine: AsyncEngine, ada: UserTasks, outside: UserTasks) -> AsyncIterator[AsyncConnection]:
        """A transaction that has written."""
        async with AsyncExitStack() as stack:
            other = await stack.enter_async_context(engine.connect())
            await outside.create("There before")
            writing = (await stack.enter_async_context(open_tasks(other, timeout=TIMEOUT))).of(ada.user_id)
            await writing.create("Not committed yet")
            yield other

    @pytest.mark.parametrize("commits", [True, False])
    async def test_cancelled(
        self, transaction: Transaction, ada: UserTasks, outside: UserTasks, pool: Any, commits: bool
    ) -> None:
        await order(transaction, ada)
        call = asyncio.create_task(ada.create("Buy milk"))
        await waits_for_a_lock(pool)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await (transaction.commit() if commits else transaction.rollback())  # at once
        assert await seen(ada, pool, outside) == (int(commits), 1)

    async def test_too_long(
        self, transaction: Transaction, ada: UserTasks, outside: UserTasks, other: AsyncConnection, pool: Any
    ) -> None:
        await order(transaction, ada)
        async with open_tasks(transaction, timeout=0.5) as tasks:  # the limit of the rollback to the savepoint, too
            with pytest.raises(StorageUnavailable):
                await tasks.of(ada.user_id).create("Buy milk")
        await other.commit()
        await ada.create("Buy tea")
        await transaction.commit()
        assert await seen(ada, pool, outside) == (1, 3)

    async def test_lost(self, transaction: Transaction, ada: UserTasks, outside: UserTasks, pool: Any) -> None:
        await order(transaction, ada)
        call = asyncio.create_task(ada.create("Buy milk"))
        [waiting] = await waits_for_a_lock(pool)
        await pool.execute("SELECT pg_terminate_backend($1)", waiting["pid"])
        with pytest.raises(StorageUnavailable):
            await call
        with pytest.raises(StorageUnavailable):
            await ada.list()
        with pytest.raises((DBAPIError, asyncpg.InterfaceError)):
            await transaction.commit()
        with suppress(DBAPIError):
            await transaction.rollback()
        assert await seen(ada, pool, outside) == (0, 1)


async def waits_for_a_lock(pool: "asyncpg.Pool[Any]") -> list[Any]:
    """Return the sessions that wait for a lock, as soon as there is one."""
    found: list[Any] = []

    async def one_waits() -> bool:
        found[:] = await pool.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(found)

    await until(one_waits)
    return found
