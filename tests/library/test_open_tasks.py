"""`open_tasks` on every source."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from adapters.postgres.dsn import connect_arguments
from domain import TaskChange
from hextasks import (
    DeleteOperation,
    InvalidTask,
    Once,
    PageRequest,
    StorageNotMigrated,
    TaskNotFound,
    Tasks,
    UserTasks,
    VersionConflict,
    open_tasks,
)
from hextasks.postgres import DatabaseNotReady
from tests.databases import Server
from tests.library.conftest import engine_on
from tests.patience import DATABASE_TIMEOUT_SECONDS as TIMEOUT

BORROWED = ["pool", "engine", "connection", "session"]
database = pytest.mark.database
Source = Any


async def source_on(kind: str, url: str, stack: AsyncExitStack) -> Source:
    """Return a source of a kind; the stack closes it."""
    if kind in ("memory://", "url"):
        return url if kind == "url" else kind
    if kind == "pool":
        return await stack.enter_async_context(asyncpg.create_pool(**connect_arguments(url), min_size=0, max_size=5))
    engine = engine_on(url)
    stack.push_async_callback(engine.dispose)
    match kind:
        case "connection":
            return await stack.enter_async_context(engine.connect())
        case "session":
            return await stack.enter_async_context(AsyncSession(engine))
        case _:
            return engine


@pytest.fixture(params=["memory://", *(pytest.param(kind, marks=database) for kind in ["url", *BORROWED])])
def kind_and_url(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param, "" if request.param == "memory://" else request.getfixturevalue("url")


@pytest.fixture
async def tasks(kind_and_url: tuple[str, str]) -> AsyncIterator[Tasks]:
    async with AsyncExitStack() as stack:
        source = await source_on(*kind_and_url, stack)
        yield await stack.enter_async_context(open_tasks(source, timeout=TIMEOUT))


async def test_a_user_works_on_any_source(tasks: Tasks) -> None:
    ada = tasks.of(f"ada {uuid4()}")
    made = [(await ada.create(title)).task for title in ("Buy milk", "Écrire", "Sweep")]
    once = Once(key="k", fingerprint=b"f")
    renamed = await ada.update(made[0].id, TaskChange(title="Buy oat milk"), expected_version=1, once=once)
    assert (await ada.update(made[0].id, TaskChange(title="Buy oat milk"), expected_version=1, once=once)).is_replayed
    with pytest.raises(VersionConflict):
        await ada.complete(made[0].id, expected_version=1)
    assert (await ada.complete(made[1].id)).task.is_completed
    await ada.apply([DeleteOperation(task_id=made[2].id)])
    with pytest.raises(TaskNotFound):
        await ada.get(made[2].id)
    assert await ada.get(made[0].id) == renamed.task
    assert [task.title for task in (await ada.list()).tasks] == ["Écrire", "Buy oat milk"]
    assert [task.title for task in (await ada.list(PageRequest(text="éCRIRE"))).tasks] == ["Écrire"]
    assert len((await ada.changes()).changes) == 2
    assert [len(page.changes) async for page in limited(ada)] == [0, 1]


async def limited(user: UserTasks) -> AsyncIterator[Any]:
    """Yield two pages of changes as they happen: that of now, and one after a write."""
    pages = user.follow_changes()
    yield await anext(pages)
    await user.create("Later")
    yield await anext(pages)
    await pages.aclose()


@pytest.mark.parametrize("wrong", ["", 0, "0197a5c8-0000-7000-8000-000000000000"])
async def test_an_id_of_another_type_is_one_error(tasks: Tasks, wrong: Any) -> None:
    ada = tasks.of("ada")
    for call in (
        ada.create("Buy milk", task_id=wrong),
        ada.get(wrong),
        ada.update(wrong, TaskChange(title="Buy tea")),
        ada.complete(wrong),
        ada.delete(wrong, once=Once(key="k", fingerprint=b"f")),
        ada.delete(wrong),
        ada.apply([DeleteOperation(task_id=wrong)]),
    ):
        with pytest.raises(InvalidTask, match=r"^The id must be a UUID\.$") as rejected:
            await call
        assert rejected.value.code == "id_not_uuid"


def sqlite_engine() -> AsyncEngine:
    driver = SimpleNamespace(paramstyle="qmark", has_stop=True, sqlite_version_info=(3, 40))
    return create_async_engine("sqlite+aiosqlite://", module=driver)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: None, TypeError, "not NoneType"),
        (lambda: b"memory://", TypeError, "not bytes"),
        (lambda: create_engine("sqlite://"), TypeError, "not Engine"),
        (lambda: async_sessionmaker(), TypeError, "not async_sessionmaker"),
        (lambda: AsyncSession, TypeError, "not type"),
        (lambda: "sqlite:///tasks.db", ValueError, "AsyncSession, not a URL of another kind"),
        (lambda: "memory", ValueError, "needs memory://"),
        (lambda: "postgresql+psycopg://ada:s3cret@localhost/tasks", ValueError, "not a URL of the form postgresql://"),
        (sqlite_engine, TypeError, r"the AsyncEngine uses sqlite\+aiosqlite; hextasks needs postgresql\+asyncpg"),
        (lambda: AsyncSession(sqlite_engine()), TypeError, r"the AsyncSession uses sqlite\+aiosqlite; "),
    ],
)
def test_a_wrong_source_is_refused_at_once(make: Callable[[], Source], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as refused:
        open_tasks(make())
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("source", ["postgresql://localhost/tasks", None])
async def test_without_the_extra_there_is_memory_only(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    monkeypatch.setitem(sys.modules, "adapters.postgres", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"all but memory:// need the extra: pip install 'hextasks\[postgres\]'"
    ):
        open_tasks(source)
    async with open_tasks("memory://") as tasks:
        assert (await tasks.of("ada").list()).tasks == ()


@database
class TestBorrowed:
    @pytest.fixture(params=BORROWED)
    async def source(self, request: pytest.FixtureRequest, url: str) -> AsyncIterator[Source]:
        async with AsyncExitStack() as stack:
            yield await source_on(request.param, url, stack)

    async def test_it_stays_open(self, source: Source) -> None:
        for _ in range(2):
            async with open_tasks(source, timeout=TIMEOUT) as tasks:
                await tasks.of("ada").create("Buy milk")

    def test_it_is_not_migrated_here(self, source: Source) -> None:
        with pytest.raises(ValueError, match="migrate needs a postgresql:// URL"):
            open_tasks(source, migrate=True)

    def test_a_schema_is_a_name(self, source: Source) -> None:
        with pytest.raises(ValueError, match="must be 1 to 63"):
            open_tasks(source, schema='tasks"; DROP')


@database
@pytest.mark.parametrize("kind", BORROWED)
@pytest.mark.parametrize("change", ["", "ALTER TABLE tasks RENAME title TO name"])
async def test_an_unmigrated_database_says_so(server: Server, url: str, kind: str, change: str) -> None:
    old = await server.copy(server.template) if change else await server.new_database()
    if change:
        connection = await asyncpg.connect(**connect_arguments(old))
        await connection.execute(change)
        await connection.close()
    async with AsyncExitStack() as stack:
        source = await source_on(kind, old, stack)
        ada = (await stack.enter_async_context(open_tasks(source, timeout=TIMEOUT))).of("ada")
        for call in (ada.create("Buy milk"), ada.list(), ada.list(PageRequest(text="milk"))):
            with pytest.raises(StorageNotMigrated, match="Run: hextasks migrate"):
                await call


@database
async def test_a_url_is_migrated_where_that_is_wanted(server: Server) -> None:
    url = await server.new_database()
    with pytest.raises(DatabaseNotReady, match="Run: hextasks migrate"):
        async with open_tasks(url):
            pass
    async with open_tasks(url.replace("postgresql://", "postgres://"), migrate=True) as tasks:
        await tasks.of("ada").create("Buy milk")
    async with open_tasks(url.replace("postgresql://", "postgresql+asyncpg://")) as tasks:
        assert [task.title for task in (await tasks.of("ada").list()).tasks] == ["Buy milk"]
