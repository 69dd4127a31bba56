"""The migration of a schema with Alembic: one session, under the migration lock, watched while it runs.

`adapters.postgres.migrations` loads this module when it migrates. A statement of a migration may take long, so it has
no time limit. Instead the database is asked every second whether the session still makes progress.
"""

import asyncio
import logging
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
from adapters.postgres.migrations import (
    LOCATION,
    LOCK_TIMEOUT_SECONDS,
    DatabaseNotReady,
    MigrationTimeout,
    UnknownRevision,
)
from adapters.postgres.statement import Statement
from adapters.postgres.version_table import record_earlier_revision
from application import StorageUnavailable

LOCK_KEY = 0x68657874  # "hext": any number that nothing else in the database uses
LOCK_POLL_SECONDS = 0.1
"""The interval at which a waiting process tries to take the migration lock. It does not wait inside a statement,
because CREATE INDEX CONCURRENTLY, which the process that has the lock may run, waits for all older statements."""
TABLE_LOCK_TIMEOUT_SECONDS = 3.0
"""The wait for a lock on a table, during which all later statements on that table wait, too. Longer than the second
after which PostgreSQL cancels an autovacuum that is in the way."""
HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS = 10.0
"""A migration fails once the database has not answered for so long, or has waited so long for the next statement."""

_log = logging.getLogger("hextasks.storage")
_one_at_a_time = asyncio.Lock()  # alembic keeps its context in module globals

# A session that has waited for its client for so long is abandoned: its client, or the network, has failed. It is ended
# if it is this migration, or holds the migration lock for which this one waits.
_PROGRESS = Statement(
    name="migration_progress",
    sql="""
    WITH lock_holder AS (
        SELECT pid FROM pg_locks
        WHERE locktype = 'advisory' AND (classid, objid, objsubid) = (0, $3::int8::oid, 1) AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
    SELECT
        (
            SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => $2)
                AND usename = current_user AND (pid = $1 OR pid IN (SELECT pid FROM lock_holder))
        ) AS has_ended,
        (
            SELECT concat_ws(
                ', ', 'process ' || pid, 'role ' || usename, 'application ' || nullif(application_name, ''),
                'in a transaction since ' || date_trunc('second', xact_start)
            )
            FROM pg_stat_activity
            WHERE pid <> $1 AND (pid = ANY (pg_blocking_pids($1)) OR pid IN (SELECT pid FROM lock_holder))
            ORDER BY xact_start LIMIT 1
        ) AS blocked_by
    FROM pg_stat_activity WHERE pid = $1
    """,
)


async def upgrade(database: Database, lock_timeout: float) -> None:
    """Bring a database to the newest revision. Raises UnknownRevision, and the errors of `migration_session`."""
    try:
        async with migration_session(database, lock_timeout=lock_timeout) as session:
            await session.run_sync(lambda connection: command.upgrade(alembic_config(connection), "head"))
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise UnknownRevision from error
        raise


def alembic_config(connection: Connection) -> Config:
    """Return the configuration of alembic's commands for a connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    return config


@asynccontextmanager
async def migration_session(
    database: Database, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS
) -> AsyncIterator[AsyncConnection]:
    """Open a connection for alembic, which begins and commits its transactions itself, under the migration lock.

    Its search path is the database's schema, which is made if there is none. One process migrates; the others wait up
    to `lock_timeout` seconds. Raises MigrationTimeout when that time is exceeded, DatabaseNotReady when the role may
    not make the schema, TimeoutError when the database stops responding, and the driver's own errors, those of the
    block included.
    """
    async with _one_at_a_time:
        connection = await database.connect()
        watch = _Watch(database, connection)
        try:
            async with watch.running():
                watch.pid = await connection.fetchval("SELECT pg_backend_pid()")
                await _take_lock(connection, lock_timeout, watch)
                # The server ends a transaction whose client is lost; otherwise that would keep its locks.
                await _set(connection, "idle_in_transaction_session_timeout", SILENCE_SECONDS)
                await _set(connection, "lock_timeout", TABLE_LOCK_TIMEOUT_SECONDS)
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


async def _take_lock(connection: asyncpg.Connection, seconds: float, watch: "_Watch") -> None:
    """Take the migration lock, which lasts as long as the session. Raises MigrationTimeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if loop.time() >= deadline:
            raise _timeout(watch)
        await asyncio.sleep(LOCK_POLL_SECONDS)


def _timeout(watch: "_Watch") -> MigrationTimeout:
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


async def _set(connection: asyncpg.Connection, name: str, seconds: float) -> None:
    await connection.execute(f"SET {name} = {max(1, int(seconds * 1000))}")


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
        except BaseException:
            connection.terminate()  # the server rolls back, and no response is waited for
            await session.invalidate()
            raise


def _cause(error: BaseException) -> BaseException:
    """Return the driver's own error. SQLAlchemy may have failed once more since, while it ended a transaction."""
    context: BaseException | None = error
    while context is not None:
        if isinstance(context, DBAPIError) and context.orig is not None:
            return context.orig.__cause__ or error
        context = context.__context__
    return error


class _Watch:
    """Terminates the connection of a migration that makes no progress, so that its statement fails."""

    def __init__(self, database: Database, connection: asyncpg.Connection) -> None:
        self.pid: int | None = None
        """The server process of the session, once it is known."""
        self.has_lost = False
        """Whether the connection was terminated."""
        self.blocked_by = "another session"
        """The session that held the lock for which this one waited last."""
        self._database = database
        self._connection = connection

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Examine the session during the block."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        answered_at = loop.time()
        while loop.time() < answered_at + SILENCE_SECONDS:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self.pid is None:
                continue
            try:
                rows = await self._database.fetch(_PROGRESS, (self.pid, SILENCE_SECONDS, LOCK_KEY))
            except StorageUnavailable as error:
                if not isinstance(error.__cause__, asyncpg.PostgresError):  # for example too many connections
                    continue
            else:
                if not rows:
                    break
                self._note(rows[0]["blocked_by"])
            answered_at = loop.time()
        self.has_lost = True
        self._connection.terminate()

    def _note(self, blocked_by: str | None) -> None:
        if blocked_by and blocked_by != self.blocked_by:
            self.blocked_by = blocked_by
            _log.info("the migration waits for a lock of %s", blocked_by)
