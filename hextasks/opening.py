"""`open_tasks`: the use-cases on a storage that is named by a URL, or that the caller has opened."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import Clock, TaskIds, TaskRepository, Tasks

if TYPE_CHECKING:
    from adapters.postgres import Executor


# Protocols, because types of packages that are not installed would be unknown to the caller's type checker.
class Pool(Protocol):
    """A `Pool` of asyncpg."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        """Take a connection."""
        ...


class AsyncEngine(Protocol):
    """An `AsyncEngine` of SQLAlchemy."""

    def connect(self) -> Any:
        """Take a connection."""
        ...


class Transaction(Protocol):
    """An `AsyncConnection` or `AsyncSession` of SQLAlchemy."""

    def in_transaction(self) -> bool:
        """Return whether a transaction has begun."""
        ...


TaskSource: TypeAlias = str | Pool | AsyncEngine | Transaction

_SOURCES = (
    "open_tasks needs memory://, a postgresql:// URL, an asyncpg Pool, or a SQLAlchemy AsyncEngine, AsyncConnection or "
    "AsyncSession"
)


def open_tasks(
    source: TaskSource,
    *,
    schema: str | None = None,
    migrate: bool = False,
    clock: Clock | None = None,
    ids: TaskIds | None = None,
) -> AbstractAsyncContextManager[Tasks]:
    """Open the use-cases on a storage, for `async with`. The end of the block closes what was opened for it.

    | source | what happens |
    | --- | --- |
    | `"memory://"` | tasks in memory, empty at first, gone at the end |
    | `"postgresql://…"` | a pool of its own; `migrate` brings the schema to the newest revision first |
    | an asyncpg `Pool`, a SQLAlchemy `AsyncEngine` | their connections, one for the time of each statement |
    | an `AsyncConnection`, an `AsyncSession` | one transaction, which the caller commits or rolls back |

    Within a transaction of the caller's, other writes of the same user wait until it ends, and give up with
    TaskContended after the time limit of a statement; followers notice its writes once it is committed.

    `schema` has the tables, otherwise the search path finds them. `clock` and `ids` replace the system's clock and
    UUIDs of version 7. Use it in one event loop.

    Raises TypeError and ValueError at once for a source that is none of these. At the start of the block, with a URL
    only, raises DatabaseNotReady when the database is not migrated or the role lacks privileges, and
    StorageUnavailable.
    """
    if not isinstance(source, str):
        if migrate:
            raise ValueError("migrate needs a postgresql:// URL, because a migration opens a connection of its own")
        return _on(_borrowed(source, schema), clock, ids)
    if source == "memory://":
        return _on(MemoryTaskRepository(), clock, ids)
    if source.startswith(("postgresql://", "postgres://")):
        return _on_url(source, schema, migrate, clock, ids)
    raise ValueError(f"{_SOURCES}; not a URL of another kind")


def _tasks(repository: TaskRepository, clock: Clock | None, ids: TaskIds | None) -> Tasks:
    return Tasks.on(repository, clock=clock or SystemClock(), ids=ids or Uuid7Ids())


@asynccontextmanager
async def _on(repository: TaskRepository, clock: Clock | None, ids: TaskIds | None) -> AsyncIterator[Tasks]:
    yield _tasks(repository, clock, ids)


def _on_url(
    url: str, schema: str | None, migrates: bool, clock: Clock | None, ids: TaskIds | None
) -> AbstractAsyncContextManager[Tasks]:
    from adapters.postgres import PostgresStorage

    storage = PostgresStorage(url, schema=schema, migrates=migrates)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Tasks]:
        try:
            await storage.start()
            yield _tasks(storage.tasks, clock, ids)
        finally:
            await storage.close()

    return opened()


def _borrowed(source: Any, schema: str | None) -> TaskRepository:
    try:
        from asyncpg import Pool
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

        from adapters.postgres import PostgresTaskRepository
        from adapters.postgres.borrowed import EngineExecutor, PoolExecutor, TransactionExecutor
    except ModuleNotFoundError as error:
        raise TypeError(f"{_SOURCES}; not {type(source).__name__}") from error
    executor: Executor
    if isinstance(source, AsyncConnection | AsyncSession):
        executor = TransactionExecutor(source, schema=schema)
        return PostgresTaskRepository(executor, coalescing="off")  # a connection runs one statement at a time
    if isinstance(source, Pool):
        executor = PoolExecutor(source, schema=schema)
    elif isinstance(source, AsyncEngine):
        executor = EngineExecutor(source, schema=schema)
    else:
        raise TypeError(f"{_SOURCES}; not {type(source).__name__}")
    return PostgresTaskRepository(executor)
