"""One PostgreSQL database: its pool of connections, and the shortest way to run a statement on one of them."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only, greenlet_spawn

from adapters.postgres.dsn import connect_arguments
from adapters.postgres.errors import lost_connection, storage_errors
from application import StorageUnavailable

# HikariCP's bypass window: a connection used this recently is taken as alive, so a busy pool pays for no ping.
PING_AFTER_IDLE_SECONDS = 0.5
PING_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How connections are kept. Times are in seconds."""

    size: int = 10
    """Connections kept open."""
    max_overflow: int = 20
    """Connections opened beyond `size` while all are in use, and closed afterwards."""
    pre_ping: bool = True
    """Whether a connection that has idled for half a second is tried before a request gets it."""
    recycle: float = 3600.0
    """The age at which a connection is replaced."""
    timeout: float = 5.0
    """How long a request waits for a connection before it is refused."""
    connect_timeout: float = 5.0
    """How long opening a connection may take."""
    statement_timeout: float = 10.0
    """How long one statement may take."""


class Database:
    """A pool of connections to one database.

    SQLAlchemy keeps the pool; statements run on the asyncpg connection itself, outside any transaction block, so that
    one statement is one round trip. Needs `close` at the end; opens nothing before its first use.
    """

    def __init__(self, url: str, pool: PoolSettings | None = None) -> None:
        """Prepare a pool for a URL as providers hand it out. Raises ValueError when it is none."""
        pool = pool or PoolSettings()
        self._statement_timeout = pool.statement_timeout
        arguments = {"timeout": pool.connect_timeout, **connect_arguments(url)}

        async def connect() -> asyncpg.Connection:
            return await asyncpg.connect(**arguments)

        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=pool.size,
            max_overflow=pool.max_overflow,
            pool_recycle=pool.recycle,
            pool_timeout=pool.timeout,
            pool_use_lifo=True,  # the connection used last is the one most surely alive
            pool_reset_on_return=None,  # no statement here leaves anything to reset
            hide_parameters=True,
        )
        _keep_dead_connections_away(self.engine, ping=pool.pre_ping)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a live connection. Storage faults inside come out as StorageUnavailable."""
        with storage_errors():
            borrowed = await self.engine.raw_connection()
            try:
                yield borrowed.driver_connection
            except asyncpg.ReadOnlySQLTransactionError:
                # A server that was demoted still answers pings; the next connection looks for the one that took over.
                await greenlet_spawn(borrowed.invalidate)
                raise
            finally:
                await greenlet_spawn(borrowed.close)

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """Run one statement, within the time limit, and return its rows. Raises StorageUnavailable."""
        async with self.connection() as connection:
            rows: Sequence[Mapping[str, Any]] = await connection.fetch(sql, *arguments, timeout=self._statement_timeout)
            return rows

    async def read(self, sql: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """Run a statement that writes nothing, a second time if its connection was lost. Raises StorageUnavailable."""
        try:
            return await self.fetch(sql, *arguments)
        except StorageUnavailable as error:
            if not lost_connection(error.__cause__):
                raise
        return await self.fetch(sql, *arguments)

    async def ping(self) -> None:
        """Prove that the database answers. Raises StorageUnavailable."""
        await self.fetch("SELECT 1")

    async def close(self) -> None:
        """Close every connection that is not in use."""
        await self.engine.dispose()


def _keep_dead_connections_away(engine: AsyncEngine, *, ping: bool) -> None:
    """Have the pool replace a dead connection before anyone gets it.

    A closed one is known without asking; with `ping`, one that idled is asked; one returned a moment ago is trusted.
    """
    pool = engine.sync_engine.pool

    @event.listens_for(pool, "checkin")
    def remember(_: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()

    @event.listens_for(pool, "checkout")
    def refuse_dead(_: Any, entry: ConnectionPoolEntry, __: Any) -> None:
        connection: Any = entry.driver_connection
        if connection.is_closed():
            raise exc.DisconnectionError
        idle_since = entry.info.get("idle_since")
        if not ping or idle_since is None or time.monotonic() - idle_since < PING_AFTER_IDLE_SECONDS:
            return
        try:
            await_only(connection.fetchval("SELECT 1", timeout=PING_TIMEOUT_SECONDS))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise exc.DisconnectionError from error
