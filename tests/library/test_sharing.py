"""What the library leaves of a pool, an engine or an event loop that it shares with the caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.dsn import connect_arguments
from domain import TaskChange
from hextasks import PageRequest, StorageUnavailable, UserTasks, open_tasks
from hextasks.postgres import EngineExecutor, PoolExecutor
from tests.library.conftest import engine_on
from tests.library.test_open_tasks import BORROWED, source_on
from tests.library.test_transactions import waits_for_a_lock
from tests.patience import DATABASE_TIMEOUT_SECONDS as TIMEOUT
from tests.patience import DEADLINE_SECONDS, until
from tests.sql import cancel_after_preparation
from tests.wires import wired

pytestmark = pytest.mark.database
OURS = "the library's"
SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"


@pytest.fixture(params=["pool", "engine"])
async def source(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Any]:
    """A pool or an engine of two connections that have a name."""
    arguments = connect_arguments(f"{url}{'&' if '?' in url else '?'}application_name={OURS}")
    if request.param == "pool":
        async with asyncpg.create_pool(**arguments, min_size=0, max_size=2) as pool:
            yield pool
    else:
        engine = engine_on(arguments["dsn"], pool_size=2, max_overflow=0)
        yield engine
        await engine.dispose()


@pytest.fixture
async def ada(source: Any) -> AsyncIterator[UserTasks]:
    async with open_tasks(source, timeout=TIMEOUT) as tasks:
        yield tasks.of(f"ada {uuid4()}")


def lent(source: Any) -> Any:
    """Return how many connections are in use."""
    is_pool = isinstance(source, asyncpg.Pool)
    return source.get_size() - source.get_idle_size() if is_pool else source.pool.checkedout()


async def test_cancelled_calls_leave_nothing(source: Any, ada: UserTasks, pool: "asyncpg.Pool[Any]") -> None:
    task = (await ada.create("Buy milk")).task
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM task_counters WHERE user_id = $1 FOR UPDATE", ada.user_id)
        calls = [asyncio.create_task(ada.update(task.id, TaskChange(title=f"Buy {n}"))) for n in range(5)]
        calls += [asyncio.create_task(ada.create(f"Task {n}")) for n in range(5)]
        await waits_for_a_lock(pool)
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}

        async def nothing_is_left() -> bool:
            held = await pool.fetchval(f"SELECT count(*) FROM pg_locks WHERE pid IN (SELECT pid {SESSIONS})", OURS)
            return not held and not lent(source)

        await until(nothing_is_left)
    assert [each.title for each in (await ada.list()).tasks] == ["Buy milk"]


async def test_a_statement_cancelled_after_its_preparation_holds_no_lock(source: Any, pool: Any) -> None:
    executor = EngineExecutor(source) if isinstance(source, AsyncEngine) else PoolExecutor(source)
    await cancel_after_preparation(executor)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SET LOCAL lock_timeout = '20s'; LOCK TABLE tasks")


async def test_lost_connections_are_replaced(source: Any, ada: UserTasks, pool: "asyncpg.Pool[Any]") -> None:
    opened: list[asyncpg.Connection] = []
    is_engine = isinstance(source, AsyncEngine)
    if is_engine:
        event.listen(source.sync_engine, "connect", lambda adapted, _: opened.append(adapted.driver_connection))
    await asyncio.gather(*(ada.list() for _ in range(5)))
    await pool.execute(f"SELECT pg_terminate_backend(pid) {SESSIONS}", OURS)

    async def is_over() -> bool:
        is_noticed = all(each.is_closed() for each in opened) if is_engine else source.get_size() == 0
        return is_noticed and not await pool.fetchval(f"SELECT count(*) {SESSIONS}", OURS)

    await until(is_over)
    for _ in range(3):
        await ada.list()
        await ada.create("Buy milk")
    if is_engine:
        async with source.connect() as first, source.connect() as second:
            assert [await each.scalar(text("SELECT 1")) for each in (first, second)] == [1, 1]


async def test_a_source_without_a_free_connection_is_unavailable(source: Any) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(source.connect() if isinstance(source, AsyncEngine) else source.acquire())
        async with open_tasks(source, timeout=0.05) as tasks:
            for call in (tasks.of("ada").list(), tasks.of("ada").create("Buy milk")):
                with pytest.raises(StorageUnavailable):
                    await call
    assert not lent(source)


@pytest.mark.parametrize("kind", BORROWED)
async def test_a_server_that_falls_silent_is_unavailable(kind: str, url: str) -> None:
    async with wired(url) as (wire, through), AsyncExitStack() as stack:
        source = await source_on(kind, through, stack)
        async with open_tasks(source, timeout=TIMEOUT) as tasks:
            await tasks.of("ada").create("Buy milk")
        async with open_tasks(source, timeout=0.1) as tasks:
            wire.cut()
            for call in (tasks.of("ada").create("Buy tea"), tasks.of("ada").list()):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    with pytest.raises(StorageUnavailable):
                        await call
        if kind in ("connection", "session"):
            with pytest.raises((DBAPIError, asyncpg.InterfaceError)):
                await source.commit()
            with suppress(DBAPIError):
                await source.rollback()
        wire.restore(and_deliver=False)


async def test_a_server_that_accepts_no_connection_is_unavailable(url: str) -> None:
    for wrong in ("postgresql://127.0.0.1:1/tasks", url.replace("/hextasks_test_", "/missing_")):
        async with open_tasks(engine_on(wrong), timeout=TIMEOUT) as tasks:
            with pytest.raises(StorageUnavailable):
                await tasks.of("ada").create("Buy milk")


@pytest.mark.parametrize("kind", ["url", *BORROWED])
def test_another_event_loop_is_refused(kind: str, url: str) -> None:
    async def opened(stack: AsyncExitStack) -> UserTasks:
        source = await source_on(kind, url, stack)
        ada = (await stack.enter_async_context(open_tasks(source, timeout=TIMEOUT))).of("ada")
        await ada.list()
        return ada

    stack = AsyncExitStack()
    with asyncio.Runner() as first, asyncio.Runner() as other:
        ada = first.run(opened(stack))
        for call in (ada.list(), ada.list(PageRequest(text="milk")), ada.create("Buy milk"), ada.delete(uuid4())):
            with pytest.raises(RuntimeError, match="belongs to the event loop that used it first"):
                other.run(call)
        first.run(ada.create("Buy milk"))
        first.run(stack.aclose())
