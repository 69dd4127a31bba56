"""One PostgreSQL database: its pool of connections, and the execution of single statements."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from adapters.postgres.connector import Connector, are_shared
from adapters.postgres.deadline import Deadline
from adapters.postgres.errors import storage_errors
from adapters.postgres.executor import StatementExecutor
from adapters.postgres.observers import StatementObserver
from adapters.postgres.pool import Pool, PooledConnection, PoolSettings
from adapters.postgres.privileges import EXAMINE, NEEDED_ARGUMENTS, describe_missing


class Database(StatementExecutor):
    """A pool of connections to one database, for use by one event loop.

    Statements run on asyncpg connections, outside any transaction block, so that one statement is one round trip.
    Needs `close` at the end; opens nothing before its first use.
    """

    def __init__(
        self,
        url: str,
        pool: PoolSettings | None = None,
        *,
        schema: str | None = None,
        observers: tuple[StatementObserver, ...] = (),
    ) -> None:
        """Prepare a pool for a URL as providers show it. Raises ValueError for any other, or for a bad schema.

        `schema` has the tables; without one, those of the role's search path are used. `observers` are notified of each
        statement that `fetch` runs.
        """
        pool = pool or PoolSettings()
        super().__init__(timeout=pool.timeout, schema=schema, observers=observers)
        self.schema = schema
        self._connector = Connector(url, timeout=pool.timeout, on_move=lambda began: self.pool.renew(began))
        self.pool = Pool(self.connect, pool)

    async def connect(self) -> asyncpg.Connection:
        """Open a connection outside of the pool; the caller closes it. Raises the driver's errors."""
        return await self._connector.connect()

    @property
    def pooler(self) -> str:
        """The pooler through which the database was reached last, in words; empty if there is none or none is known."""
        return self._connector.pooler

    async def shares(self, connection: asyncpg.Connection) -> bool:
        """Return whether a pooler shares what serves an open connection with others. Raises StorageUnavailable."""
        if not self.pooler:
            return False
        async with self.connection(at_once=True) as other, asyncio.timeout(self.timeout):
            return await are_shared(connection, other)

    async def _fetch_once(self, sql: str, arguments: Sequence[Any], deadline: float) -> list[asyncpg.Record]:
        lent = self.pool.take() or await self._acquire(deadline)
        try:
            rows: list[asyncpg.Record] = await lent.connection.fetch(sql, *arguments)
        except BaseException as error:
            self.pool.release(lent, error)
            raise
        self.pool.release(lent)
        return rows

    def _acquire(self, deadline: float, *, at_once: bool = False) -> Awaitable[PooledConnection]:
        """Lend a connection. When half of the statement's time is over, one beyond the size of the pool is opened."""
        return self.pool.acquire(deadline - self.timeout / 2, at_once=at_once)

    @asynccontextmanager
    async def connection(self, *, at_once: bool = False) -> AsyncIterator[asyncpg.Connection]:
        """Lend a live connection; `at_once` opens one more rather than wait for one that is in use.

        Storage faults in the block are raised as StorageUnavailable.
        """
        loop = self._running_loop()
        with storage_errors:
            deadline = loop.time() + self.timeout
            with Deadline(loop, deadline):
                lent = await self._acquire(deadline, at_once=at_once)
            try:
                yield lent.connection
            except BaseException as error:
                self.pool.release(lent, error)
                raise
            self.pool.release(lent)

    async def examine(self) -> asyncpg.Record:
        """Return a row of EXAMINE. Raises StorageUnavailable, and the driver's other errors."""
        with storage_errors:
            async with asyncio.timeout(self.timeout), self.connection(at_once=True) as connection:
                return await connection.fetchrow(EXAMINE, *NEEDED_ARGUMENTS, self.schema)

    async def ping(self) -> None:
        """Prove that the database has the tables, accepts writes and grants them. Raises StorageUnavailable."""
        found = await self.examine()
        with storage_errors:
            if found["is_read_only"]:
                raise asyncpg.ReadOnlySQLTransactionError("the server accepts no writes")
            if found["grants"]:
                raise asyncpg.InsufficientPrivilegeError(describe_missing(found["grants"]))
            if not found["has_tables"]:
                raise asyncpg.UndefinedTableError("the tables do not exist")

    async def close(self) -> None:
        """Close every connection, those in use as soon as they are returned."""
        self.pool.close()
        self._loop = None
