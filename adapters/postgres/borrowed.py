"""Databases that the caller opens and closes: a pool of asyncpg's, an engine of SQLAlchemy's, or one transaction."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from adapters.postgres.deadline import Deadline
from adapters.postgres.errors import storage_errors
from adapters.postgres.executor import DEFAULT_TIMEOUT, StatementExecutor


class PoolExecutor(StatementExecutor):
    """Runs each statement on a connection of an asyncpg pool, outside of any transaction block."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", *, timeout: float = DEFAULT_TIMEOUT, schema: str | None = None
    ) -> None:
        super().__init__(timeout=timeout, schema=schema)
        self._pool = pool

    async def _fetch_once(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        async with self._pool.acquire() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows


class EngineExecutor(StatementExecutor):
    """Runs each statement on a connection of a SQLAlchemy engine, outside of any transaction block."""

    def __init__(self, engine: AsyncEngine, *, timeout: float = DEFAULT_TIMEOUT, schema: str | None = None) -> None:
        """Take an engine. Raises TypeError for one of another driver."""
        super().__init__(timeout=timeout, schema=schema)
        check_driver(engine)
        self._engine = engine

    async def _fetch_once(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        async with self._engine.connect() as connection:
            rows: list[asyncpg.Record] = await (await _driver_of(connection)).fetch(sql, *arguments)
            return rows


class TransactionExecutor(StatementExecutor):
    """Runs each statement within the transaction of a SQLAlchemy connection or session, which the caller ends.

    Statements run one at a time, each in a savepoint, so that a rejected write does not spoil the transaction. None
    runs again: what a lost connection has done so far is lost with its transaction.
    """

    def __init__(
        self,
        transaction: AsyncConnection | AsyncSession,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        schema: str | None = None,
    ) -> None:
        """Take a connection or session. Raises TypeError for one of another driver."""
        super().__init__(timeout=timeout, schema=schema)
        check_driver(transaction)
        self._transaction = transaction
        self._one_at_a_time = asyncio.Lock()

    async def fetch(
        self, statement: Any, arguments: Sequence[Any] = (), *, deadline: float | None = None
    ) -> list[asyncpg.Record]:
        """Run one statement and return its rows. Raises StorageUnavailable."""
        loop = self._running_loop()
        with storage_errors, Deadline(loop, loop.time() + self.timeout if deadline is None else deadline):
            async with self._one_at_a_time:
                return await self._fetch_once(self._sql(statement), arguments)

    async def _fetch_once(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        transaction = self._transaction
        connection = await transaction.connection() if isinstance(transaction, AsyncSession) else transaction
        driver = await _driver_of(connection)
        if not driver.is_in_transaction():
            await connection.exec_driver_sql("SELECT 1")  # SQLAlchemy sends BEGIN before its own first statement
            if not driver.is_in_transaction():
                raise RuntimeError("the connection is in autocommit mode, so that there is no transaction to join")
        async with driver.transaction():  # a savepoint
            rows: list[asyncpg.Record] = await driver.fetch(sql, *arguments)
            return rows


def check_driver(source: AsyncEngine | AsyncConnection | AsyncSession) -> None:
    """Raise TypeError unless an object of SQLAlchemy's uses asyncpg."""
    dialect = source.get_bind().dialect if isinstance(source, AsyncSession) else source.dialect
    if (dialect.name, dialect.driver) != ("postgresql", "asyncpg"):
        kind = type(source).__name__
        raise TypeError(f"the {kind} uses {dialect.name}+{dialect.driver}; hextasks needs postgresql+asyncpg")


async def _driver_of(connection: AsyncConnection) -> Any:
    raw = await connection.get_raw_connection()
    return raw.driver_connection
