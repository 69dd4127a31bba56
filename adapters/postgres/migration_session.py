"""The migration of a schema with Alembic: one session, under the migration lock, watched while it runs.

`adapters.postgres.migrations` loads this module when it migrates. A statement of a migration may take long, so it has
no time limit. Instead the database is asked all the time whether the session still makes progress.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from adapters.postgres.database import Database
from adapters.postgres.migration_watch import LOCK_KEY, Watch, milliseconds
from adapters.postgres.migrations import (
    LOCATION,
    LOCK_TIMEOUT_SECONDS,
    DatabaseNotReady,
    MigrationTimeout,
    UnknownRevision,
)
from adapters.postgres.version_table import record_earlier_revision

LOCK_POLL_SECONDS = 0.1
"""The interval at which a waiting process tries to take the migration lock. It does not wait inside a statement,
because CREATE INDEX CONCURRENTLY, which the process that has the lock may run, waits for all older statements."""
TABLE_LOCK_TIMEOUT_SECONDS = 0.3
"""The first wait for a lock on a table, during which all later statements on that table wait, too."""
LONGEST_TABLE_LOCK_TIMEOUT_SECONDS = 1.2
"""Each wait after a pause is twice as long, up to this: shorter than DATABASE_TIMEOUT, so that no request fails, and
longer than the second after which PostgreSQL cancels an autovacuum that is in the way."""
TABLE_LOCK_PAUSE_SECONDS = 1.0
"""Between two waits, for the requests that have waited meanwhile."""
_NEEDS_A_SESSION = (
    "a migration needs a connection of its own, but this pooler shares connections; run with the DATABASE_URL of the "
    "database itself, or of a pooler in session mode: hextasks migrate"
)
_one_at_a_time = threading.Lock()  # for all event loops, because alembic keeps its context in module globals


async def upgrade(database: Database, lock_timeout: float) -> None:
    """Bring a database to the newest revision. Raises UnknownRevision, and the errors of `migration_session`.

    A migration that did not get a lock on a table is tried again, as long as `lock_timeout` seconds have not passed.
    """
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + lock_timeout, TABLE_LOCK_TIMEOUT_SECONDS
    while True:
        try:
            async with migration_session(
                database, lock_timeout=deadline - loop.time(), table_lock_timeout=wait
            ) as session:
                await session.run_sync(lambda connection: command.upgrade(alembic_config(connection), "head"))
            return
        except MigrationTimeout as error:
            is_of_table = isinstance(error.__cause__, asyncpg.LockNotAvailableError)
            if not is_of_table or loop.time() + TABLE_LOCK_PAUSE_SECONDS >= deadline:
                raise
        except CommandError as error:
            if isinstance(error.__cause__, ResolutionError):
                raise UnknownRevision from error
            raise
        await asyncio.sleep(TABLE_LOCK_PAUSE_SECONDS)
        wait = min(2 * wait, LONGEST_TABLE_LOCK_TIMEOUT_SECONDS)


def alembic_config(connection: Connection) -> Config:
    """Return the configuration of alembic's commands for a connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    return config


@asynccontextmanager
async def migration_session(
    database: Database,
    *,
    lock_timeout: float = LOCK_TIMEOUT_SECONDS,
    table_lock_timeout: float = LONGEST_TABLE_LOCK_TIMEOUT_SECONDS,
) -> AsyncIterator[AsyncConnection]:
    """Open a connection for alembic, which begins and commits its transactions itself, under the migration lock.

    Its search path is the database's schema, which is made if there is none. One process migrates; the others wait up
    to `lock_timeout` seconds. A statement waits up to `table_lock_timeout` seconds for a table. Raises MigrationTimeout
    when one of both is over, DatabaseNotReady behind a pooler that shares connections, or when the role may not make
    the schema, TimeoutError when the database stops responding, and the driver's own errors, those of the block
    included.
    """
    async with _alone_in_process():
        connection = await database.connect()
        watch = Watch(database, connection)
        try:
            if await database.shares(connection):  # the migration lock and the settings would be shared, too
                raise DatabaseNotReady(_NEEDS_A_SESSION)
            async with watch.running():
                await watch.begin()
                await _take_lock(connection, lock_timeout, watch)
                await connection.execute(f"SET lock_timeout = {milliseconds(table_lock_timeout)}")
                # For tables that are distributed by Citus. Our trigger, on `tasks`, sees and changes its own row only.
                await connection.execute("SET citus.enable_unsafe_triggers = on")
                if database.schema:
                    await _enter(connection, database.schema)
                await record_earlier_revision(connection, database.schema)
                async with _session(connection) as session:
                    yield session
        except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            cause = _cause(error)
            if watch.has_lost:
                raise TimeoutError("the database stopped responding during the migration") from cause
            if isinstance(cause, asyncpg.LockNotAvailableError):
                raise _timeout(watch) from cause
            raise cause from None
        finally:
            connection.terminate()


@asynccontextmanager
async def _alone_in_process() -> AsyncIterator[None]:
    while not _one_at_a_time.acquire(blocking=False):  # noqa: ASYNC110  # an Event belongs to one event loop
        await asyncio.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        _one_at_a_time.release()


async def _take_lock(connection: asyncpg.Connection, seconds: float, watch: Watch) -> None:
    """Take the migration lock, which lasts as long as the session. Raises MigrationTimeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if loop.time() >= deadline:
            raise _timeout(watch)
        await asyncio.sleep(LOCK_POLL_SECONDS)


def _timeout(watch: Watch) -> MigrationTimeout:
    return MigrationTimeout(
        f"a lock that the migration needs was not released in time by {watch.blocked_by}; end that session, or run "
        "again: hextasks migrate"
    )


async def _enter(connection: asyncpg.Connection, schema: str) -> None:
    """Make a schema the search path of a session, having created it. Raises DatabaseNotReady."""
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", schema):
        try:
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        except asyncpg.InsufficientPrivilegeError as error:
            name, role = await connection.fetchrow("SELECT quote_ident($1), quote_ident(current_user)", schema)
            raise DatabaseNotReady(
                f"there is no schema {schema}, and the role may not create one. As the owner of the database run: "
                f"CREATE SCHEMA {name} AUTHORIZATION {role};"
            ) from error
    await connection.execute(f'SET search_path = "{schema}"')


@asynccontextmanager
async def _session(connection: asyncpg.Connection) -> AsyncIterator[AsyncConnection]:
    async def connect() -> asyncpg.Connection:
        return connection

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True
    )
    async with engine.connect() as session:
        try:
            yield session
            await session.rollback()  # fails if the connection was lost in a transaction
        finally:
            connection.terminate()  # to close it would wait for the server without a limit
            await session.invalidate()


def _cause(error: BaseException) -> BaseException:
    """Return the driver's own error. SQLAlchemy may have failed once more since, while it ended a transaction."""
    context: BaseException | None = error
    while context is not None:
        if isinstance(context, DBAPIError) and context.orig is not None:
            return context.orig.__cause__ or error
        context = context.__context__
    return error
