"""`open_tasks`: the use-cases on a storage that is named by a URL, or that the caller has opened."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import Clock, TaskIds, TaskRepository, Tasks

if TYPE_CHECKING:
    from adapters.postgres import PostgresStorage


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

MEMORY_URL = "memory://"
_SOURCES = (
    "open_tasks needs memory://, a postgresql:// URL, an asyncpg Pool, or a SQLAlchemy AsyncEngine, AsyncConnection or "
    "AsyncSession"
)


def open_tasks(
    source: TaskSource,
    *,
    schema: str | None = None,
    migrate: bool = False,
    timeout: float = 1.5,
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

    Within a transaction of the caller's, a rejected or cancelled call leaves the transaction usable, and other
    statements of the caller have to wait for the calls. Other writers of the same user wait for its end, and give up
    after the time limit of a statement; followers notice its writes once it is committed.

    `schema` has the tables, otherwise the search path finds them. `timeout` is the time limit of a statement, in
    seconds, the wait for a connection included. `clock` and `ids` replace the system's clock and UUIDs of version 7.
    Use it in one event loop.

    Raises at once TypeError and ValueError for a source that is none of these, and ModuleNotFoundError without the
    `postgres` extra. At the start of the block, with a URL only, raises DatabaseNotReady when the database is not
    migrated or the role lacks privileges, and StorageUnavailable.
    """
    if source == MEMORY_URL:
        return _on(MemoryTaskRepository(), clock, ids)
    try:
        from adapters.postgres import PoolSettings, PostgresStorage
        from adapters.postgres.borrowed import repository_on
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{_SOURCES}; all but memory:// need the extra: pip install 'hextasks[postgres]'"
        ) from error
    if isinstance(source, str):
        if not source.startswith("postgres"):
            raise ValueError(f"{_SOURCES}, not a URL of another kind")
        storage = PostgresStorage(source, PoolSettings(timeout=timeout), schema=schema, migrates=migrate)
        return _started(storage, clock, ids)
    repository = repository_on(source, schema=schema, timeout=timeout)
    if repository is None:
        raise TypeError(f"{_SOURCES}, not {type(source).__name__}")
    if migrate:
        raise ValueError("migrate needs a postgresql:// URL, because a migration opens a connection of its own")
    return _on(repository, clock, ids)


@asynccontextmanager
async def _on(repository: TaskRepository, clock: Clock | None, ids: TaskIds | None) -> AsyncIterator[Tasks]:
    yield Tasks.on(repository, clock=clock or SystemClock(), ids=ids or Uuid7Ids())


@asynccontextmanager
async def _started(storage: "PostgresStorage", clock: Clock | None, ids: TaskIds | None) -> AsyncIterator[Tasks]:
    try:
        await storage.start()
        async with _on(storage.tasks, clock, ids) as tasks:
            yield tasks
    finally:
        await storage.close()
