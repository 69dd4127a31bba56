"""Where tasks are kept: an adapter's repository, and what it takes to open, check and close what is behind it."""

from typing import Protocol

from adapters.memory import MemoryTaskRepository
from application import TaskRepository
from entrypoints.settings import Settings
from entrypoints.start import StartError, why


class Storage(Protocol):
    """What the service needs of a storage beside its repository."""

    tasks: TaskRepository

    async def start(self) -> None:
        """Prove that the storage is ready for this code, having migrated it in development.

        Raises StartError, with what to do, and StorageUnavailable.
        """
        ...

    async def ping(self) -> None:
        """Prove that the storage answers. Raises StorageUnavailable."""
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
                    timeout=settings.database_pool_timeout,
                    connect_timeout=settings.database_connect_timeout,
                    statement_timeout=settings.database_statement_timeout,
                ),
            )
        except ValueError as error:
            raise StartError(f"DATABASE_URL: {error}") from None
        self.tasks = PostgresTaskRepository(self.database)
        self._migrates = not settings.in_production

    async def start(self) -> None:
        """See Storage.start."""
        from adapters.postgres import schema_state

        async with self.database.connection() as connection:
            encoding = await connection.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            raise StartError(f"the database's encoding is {encoding}; create one with encoding UTF8")
        if self._migrates:
            await self.migrate()
        state = await schema_state(self.database)
        if not state.is_current:
            raise StartError(
                f"the database is at revision {state.current or 'none'}, this version needs {state.head}; "
                "type: hextasks migrate"
            )

    async def migrate(self) -> tuple[str | None, str | None]:
        """Bring the schema to the newest revision, and return the ones before and after.

        Raises StartError and StorageUnavailable.
        """
        from sqlalchemy.exc import DBAPIError

        from adapters.postgres import MigrationTimeout, UnknownRevision, migrate, schema_state

        before = await schema_state(self.database)
        if before.is_current:
            return before.current, before.head
        try:
            await migrate(self.database)
        except MigrationTimeout:
            raise StartError("another process has been migrating the database for too long; look for it") from None
        except UnknownRevision:
            raise StartError("a newer version migrated this database; install that version") from None
        except DBAPIError as error:
            raise StartError(f"the database refused to be migrated: {why(error)}") from None
        return before.current, before.head

    async def ping(self) -> None:
        """See Storage.ping."""
        await self.database.ping()

    async def close(self) -> None:
        """See Storage.close."""
        await self.database.close()
