"""Alembic on a connection of the driver. `adapters.postgres.migrations` loads this module when it migrates."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from adapters.postgres.migrations import LOCATION, LOCK_TIMEOUT_SECONDS, MigrationTimeout, UnknownRevision

LOCK_KEY = 0x68657874  # "hext": any number that nothing else in the database uses
Connect = Callable[[], Awaitable[asyncpg.Connection]]

_one_at_a_time = asyncio.Lock()  # alembic keeps its context in module globals


async def upgrade(connect: Connect, lock_timeout: float) -> None:
    """Bring a database to the newest revision. Raises as `adapters.postgres.migrations.migrate`."""
    try:
        async with _one_at_a_time, sqlalchemy_connection(connect) as connection:
            await connection.run_sync(lambda c: command.upgrade(alembic_config(c, lock_timeout), "head"))
    except asyncpg.LockNotAvailableError as error:
        raise MigrationTimeout from error
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise UnknownRevision from error
        raise


@asynccontextmanager
async def sqlalchemy_connection(connect: Connect) -> AsyncIterator[AsyncConnection]:
    """Open a connection for alembic, and close it at the end. Errors in the block are raised as the driver's own."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True
    )
    try:
        async with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise (error.orig.__cause__ if error.orig else None) or error from None


def alembic_config(connection: Connection, lock_timeout: float = LOCK_TIMEOUT_SECONDS) -> Config:
    """Return the configuration of alembic's commands for a connection."""
    config = Config(attributes={"connection": connection, "lock_timeout": lock_timeout})
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    return config
