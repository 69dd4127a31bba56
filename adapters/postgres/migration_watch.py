"""The watch over a migration: asks the database, over a second connection, whether the session makes progress."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from adapters.postgres.database import Database
from adapters.postgres.statement import Statement
from application import StorageUnavailable

LOCK_KEY = 0x68657874  # "hext": any number that nothing else in the database uses
HEARTBEAT_SECONDS = 0.5
SILENCE_SECONDS = 10.0
"""A migration fails once the database has not answered for so long, or has waited so long for the next statement."""

_log = logging.getLogger("hextasks.storage")

# A session that has waited for its client for so long is abandoned: its client, or the network, has failed. It is ended
# if it is this migration, or holds the migration lock for which this one waits; and if it is the watch of another
# migration, known by this very statement: in the middle of it, it keeps an index of that one from being finished.
# Only the second examination in a row that finds one ends it ($4): if the machine was suspended, or this process, a
# session that is about to go on is found once.
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
            SELECT bool_or(CASE WHEN $4::bool THEN pg_terminate_backend(pid) ELSE true END) FROM pg_stat_activity
            WHERE wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => $2)
                AND usename = current_user AND datname = current_database() AND (
                    pid = $1 OR pid IN (SELECT pid FROM lock_holder)
                    OR (state = 'active' AND left(query, 200) = left(current_query(), 200))
                )
        ) AS is_abandoned,
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


class Watch:
    """Terminates the connection of a migration that makes no progress, so that its statement fails."""

    def __init__(self, database: Database, connection: asyncpg.Connection) -> None:
        self.pid: int | None = None
        """The server process of the session, once it is known."""
        self.has_lost = False
        """Whether the watch has terminated the connection, because the migration made no progress."""
        self.blocked_by = "another session"
        """The session that held the lock for which this one waited last."""
        self._database = database
        self._connection = connection
        self._found_abandoned = False

    async def begin(self) -> None:
        """Watch the session from now on, and have the server end its transaction when its client is lost."""
        self.pid = await self._connection.fetchval("SELECT pg_backend_pid()")
        limit = f"SET idle_in_transaction_session_timeout = {milliseconds(SILENCE_SECONDS)}"
        await self._connection.execute(limit)

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
        answered_at, unanswered = loop.time(), 0
        # After a suspension of this process, the examination that it interrupted has failed, but the next one succeeds.
        while unanswered < 2 or loop.time() < answered_at + SILENCE_SECONDS:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            unanswered += 1
            if self.pid is None:
                continue
            try:
                if not await self.examine():
                    break
            except StorageUnavailable as error:
                if not isinstance(error.__cause__, asyncpg.PostgresError):  # for example too many connections
                    continue
            answered_at, unanswered = loop.time(), 0
        if not self._connection.is_closed():  # the migration ends it itself when a statement has failed
            self.has_lost = True
            self._connection.terminate()

    async def examine(self) -> bool:
        """End abandoned sessions, and note who holds a lock. Returns whether the watched session still exists.

        Raises StorageUnavailable.
        """
        arguments = (self.pid, SILENCE_SECONDS, LOCK_KEY, self._found_abandoned)
        rows = await self._database.fetch(_PROGRESS, arguments)
        if not rows:
            return False
        self._found_abandoned = bool(rows[0]["is_abandoned"])
        self._note(rows[0]["blocked_by"])
        return True

    def _note(self, blocked_by: str | None) -> None:
        if blocked_by and blocked_by != self.blocked_by:
            self.blocked_by = blocked_by
            _log.info("the migration waits for a lock of %s", blocked_by)


def milliseconds(seconds: float) -> int:
    """Return a time as PostgreSQL's settings take it, to which 0 is no limit."""
    return max(1, int(seconds * 1000))
