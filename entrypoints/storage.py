"""Where tasks are kept: an adapter's repository, and what it takes to open, check and close what is behind it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from adapters.memory import MemoryTaskRepository
from application import StorageUnavailable, TaskRepository
from entrypoints.settings import Settings
from entrypoints.start import StartError, why

if TYPE_CHECKING:
    from adapters.postgres import SchemaState

_log = logging.getLogger("hextasks.storage")


class Storage(Protocol):
    """What the service needs of a storage beside its repository."""

    tasks: TaskRepository

    async def start(self) -> None:
        """Prove that the storage is ready for this code, having migrated it in development.

        Raises StartError, with what to do, and StorageUnavailable.
        """
        ...

    async def check(self) -> None:
        """Prove it now, if that could not be done at the start. Raises StorageUnavailable."""
        ...

    async def ping(self) -> None:
        """Prove that the storage can serve. Raises StorageUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of everything held."""
        ...


class MemoryStorage:
    """Tasks in this process."""

    def __init__(self) -> None:
        self.tasks = MemoryTaskRepository()

    async def start(self) -> None:
        """Succeed: memory needs nothing."""

    async def check(self) -> None:
        """Succeed, as it did at the start."""

    async def ping(self) -> None:
        """Succeed: memory is always there."""

    async def close(self) -> None:
        """Succeed: the tasks go with the process."""


class PostgresStorage:
    """Tasks in the database that the settings name."""

    def __init__(self, settings: Settings) -> None:
        from adapters.postgres import Database, PoolSettings, PostgresTaskRepository

        assert settings.database_url is not None, "the settings are prepared"  # noqa: S101
        try:
            self.database = Database(
                settings.database_url,
                PoolSettings(
                    size=settings.database_pool_size,
                    max_overflow=settings.database_max_overflow,
                    pre_ping=settings.database_pool_pre_ping,
                    recycle=settings.database_pool_recycle,
                    timeout=settings.database_timeout,
                ),
            )
        except ValueError as error:
            raise StartError(f"DATABASE_URL: {error}") from None
        self.tasks = PostgresTaskRepository(self.database)
        self._in_production = settings.in_production
        self._is_checked = False

    async def start(self) -> None:
        """See Storage.start."""
        found = await self.examine()
        if found.encoding != "UTF8":
            raise StartError(f"the database's encoding is {found.encoding}; create one with encoding UTF8")
        if not found.schema.is_current:
            if self._in_production:
                raise StartError(
                    f"the database is at revision {found.schema.current or 'none'}, this version needs "
                    f"{found.schema.head}; type: hextasks migrate"
                )
            await self.migrate()
        self._is_checked = True

    async def examine(self) -> "Examined":
        """Read what the database is and how far it is migrated. Raises StartError and StorageUnavailable."""
        from adapters.postgres import schema_state

        with _refusals():
            async with self.database.connection() as connection:
                row = await connection.fetchrow(
                    "SELECT current_setting('server_version') AS version, "
                    "current_setting('server_encoding') AS encoding"
                )
            return Examined(row["version"], row["encoding"], await schema_state(self.database))

    async def migrate(self) -> "tuple[SchemaState, SchemaState]":
        """Bring the schema to the newest revision, and return the states before and after.

        Raises StartError and StorageUnavailable.
        """
        from adapters.postgres import MigrationTimeout, UnknownRevision, migrate, schema_state

        with _refusals():
            before = await schema_state(self.database)
            if before.is_current:
                return before, before
            try:
                await migrate(self.database)
            except MigrationTimeout:
                raise StartError("another process has been migrating the database for too long; look for it") from None
            except UnknownRevision:
                raise StartError("a newer version migrated this database; install that version") from None
            return before, await schema_state(self.database)

    async def check(self) -> None:
        """See Storage.check."""
        if not self._is_checked:
            try:
                await self.start()
            except StartError as error:
                _log.warning("not ready: %s", error)
                raise StorageUnavailable from error

    async def ping(self) -> None:
        """See Storage.ping."""
        await self.check()
        await self.database.ping()

    async def close(self) -> None:
        """See Storage.close."""
        await self.database.close()


class Examined(NamedTuple):
    """What a database is."""

    version: str
    encoding: str
    schema: "SchemaState"


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the database refuses to do for this role, or for the SQL at all, into a StartError."""
    from asyncpg import PostgresError

    try:
        yield
    except PostgresError as error:
        raise StartError(f"the database refuses: {why(error)}") from error
