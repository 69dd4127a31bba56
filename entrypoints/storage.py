"""Storages: what the service needs of one beside its repository, and the one that the settings name."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from application import Purge, StorageUnavailable, TaskRepository
from entrypoints.purging import purging
from entrypoints.settings import DATABASE_URL_EXAMPLE, Settings
from entrypoints.start import StartError, describe_failure

if TYPE_CHECKING:
    from adapters.postgres import PostgresStorage, StatementObserver

_log = logging.getLogger("hextasks.storage")


class Storage(Protocol):
    """A repository, and the operations to open, check and close its storage."""

    tasks: TaskRepository

    async def start(self) -> None:
        """Prove that the storage is ready for this code, having migrated it in development.

        Raises StorageUnavailable, and DatabaseNotReady when an operator has to act.
        """
        ...

    async def check(self) -> None:
        """Do what `start` does, unless it has succeeded. Raises StorageUnavailable."""
        ...

    async def ping(self) -> None:
        """Prove that the storage can serve now. Raises StorageUnavailable."""
        ...

    async def close(self) -> None:
        """Release everything held."""
        ...


class ReadyStorage:
    """A repository that is always ready: in the memory of this process, or one that the caller has opened."""

    def __init__(self, tasks: TaskRepository) -> None:
        self.tasks = tasks

    async def start(self) -> None:
        """Do nothing."""

    async def check(self) -> None:
        """Do nothing."""

    async def ping(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


def postgres_storage(settings: Settings, observers: "tuple[StatementObserver, ...]" = ()) -> "PostgresStorage":
    """Return the storage in the database that prepared settings name, whose `observers` are notified of statements.

    Raises StartError for a bad URL.
    """
    from adapters.postgres import PoolSettings, PostgresStorage

    assert settings.database_url is not None, "the settings are prepared"  # noqa: S101
    try:
        return PostgresStorage(
            settings.database_url,
            PoolSettings(
                size=settings.database_pool_size,
                max_overflow=settings.database_max_overflow,
                pre_ping=settings.database_pool_pre_ping,
                recycle=settings.database_pool_recycle,
                timeout=settings.database_timeout,
            ),
            schema=settings.database_schema,
            coalescing=settings.database_coalescing,
            observers=observers,
            migrates=not settings.in_production,
        )
    except ValueError as error:
        raise StartError(f"DATABASE_URL: {error}. Example: {DATABASE_URL_EXAMPLE}") from None


@asynccontextmanager
async def open_storage(storage: Storage, purge: Purge, *, is_quiet: Callable[[], bool]) -> AsyncIterator[None]:
    """Open a storage for the time of the block, and purge it. If it is unavailable, it is opened later."""
    try:
        try:
            await storage.start()
        except StorageUnavailable as error:  # requests are served as soon as the database is available
            _log.warning("starting without the database, which is unavailable: %s", describe_failure(error))
        async with purging(purge, check=storage.check, is_quiet=is_quiet):
            yield
    finally:
        await storage.close()


@asynccontextmanager
async def opened_postgres(settings: Settings) -> AsyncIterator["PostgresStorage"]:
    """Open the storage in the database of prepared settings, for one command.

    Raises StartError for what an operator has to correct.
    """
    from adapters.postgres import DatabaseNotReady

    storage = postgres_storage(settings)
    try:
        yield storage
    except DatabaseNotReady as error:
        raise StartError(str(error)) from error
    finally:
        await storage.close()
