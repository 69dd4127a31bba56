"""Databases that the caller opens and closes: a pool of asyncpg's, an engine of SQLAlchemy's, or one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from adapters.postgres.calls import Coalescing
from adapters.postgres.deadline import DEFAULT_TIMEOUT
from adapters.postgres.executor import StatementExecutor
from adapters.postgres.tasks import PostgresTaskRepository

_UNDO = "ROLLBACK TO SAVEPOINT hextasks; RELEASE SAVEPOINT hextasks"
_EXAMINE = "SELECT 1"
"""Fails if the cancellation of a statement has failed the transaction, of which COMMIT would say nothing."""


class PoolExecutor(StatementExecutor):
    """Runs each statement on a connection of an asyncpg pool, outside of any transaction block."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", *, timeout: float = DEFAULT_TIMEOUT, schema: str | None = None
    ) -> None:
        super().__init__(timeout=timeout, schema=schema)
        self._pool = pool

    async def _fetch_once(self, sql: str, arguments: Sequence[Any], _deadline: float) -> list[asyncpg.Record]:
        async with self._pool.acquire(timeout=self.timeout) as connection:  # a time limit for its release as well
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows


class EngineExecutor(StatementExecutor):
    """Runs each statement on a connection of a SQLAlchemy engine, outside of any transaction block."""

    def __init__(self, engine: AsyncEngine, *, timeout: float = DEFAULT_TIMEOUT, schema: str | None = None) -> None:
        """Take an engine. Raises TypeError for one of another driver."""
        super().__init__(timeout=timeout, schema=schema)
        _check_driver(engine)
        self._engine = engine

    async def _fetch_once(self, sql: str, arguments: Sequence[Any], _deadline: float) -> list[asyncpg.Record]:
        async with self._engine.connect() as connection:
            driver = await _driver_of(connection)
            while driver.is_closed():  # the pool may have several from before a restart of the server
                await connection.invalidate()
                driver = await _driver_of(connection)
            try:
                rows: list[asyncpg.Record] = await driver.fetch(sql, *arguments)
            except BaseException as error:
                # What SQLAlchemy did not send itself, it does not examine: it would keep a connection that has ended,
                # or one whose cancelled statement holds locks.
                if driver.is_closed() or not isinstance(error, asyncpg.PostgresError):
                    await connection.invalidate()
                raise
            return rows


class TransactionExecutor(StatementExecutor):
    """Runs each statement within the transaction of a SQLAlchemy connection or session, which the caller ends.

    Statements run one at a time, each in a savepoint, so that one that is rejected or cancelled does not spoil the
    transaction; that takes two round trips more. The caller runs no statement on the same connection meanwhile.
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
        _check_driver(transaction)
        self._transaction = transaction
        self._one_at_a_time = asyncio.Lock()

    async def _fetch_once(self, sql: str, arguments: Sequence[Any], _deadline: float) -> list[asyncpg.Record]:
        async with self._one_at_a_time:
            driver = await self._driver()
            remedy = _EXAMINE
            try:
                await driver.execute("SAVEPOINT hextasks")
                remedy = _UNDO
                rows: list[asyncpg.Record] = await driver.fetch(sql, *arguments)
                remedy = _EXAMINE
                await driver.execute("RELEASE SAVEPOINT hextasks")
            except BaseException as error:
                if remedy is _UNDO or isinstance(error, asyncio.CancelledError):
                    await self._repair(driver, remedy)
                raise
            return rows

    async def _driver(self) -> Any:
        """Return the driver's connection, in a transaction. Raises RuntimeError in autocommit mode."""
        transaction = self._transaction
        connection = await transaction.connection() if isinstance(transaction, AsyncSession) else transaction
        driver = await _driver_of(connection)
        if driver.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        if not driver.is_in_transaction():
            await connection.exec_driver_sql("SELECT 1")  # SQLAlchemy sends BEGIN before its own first statement
            if not driver.is_in_transaction():
                raise RuntimeError("the connection is in autocommit mode, so that there is no transaction to join")
        return driver

    async def _repair(self, driver: Any, remedy: str) -> None:
        """Make the transaction usable; where that fails, end the connection, so that it cannot seem to commit."""
        is_usable = False
        try:
            with suppress(Exception):  # the caller learns the first error
                async with asyncio.timeout(self.timeout):
                    await driver.execute(remedy)
                is_usable = True
        finally:
            if not is_usable:
                driver.terminate()


_EXECUTORS: dict[Any, tuple[Callable[..., StatementExecutor], Coalescing | None]] = {
    asyncpg.Pool: (PoolExecutor, "all"),
    AsyncEngine: (EngineExecutor, "all"),
    AsyncConnection: (TransactionExecutor, None),
    AsyncSession: (TransactionExecutor, None),
}


def repository_on(source: object, *, timeout: float, schema: str | None) -> PostgresTaskRepository | None:
    """Return a repository on a database of the caller's; None for an object of another kind.

    Raises TypeError for one of another driver, and ValueError for a bad schema.
    """
    for kind, (executor, coalescing) in _EXECUTORS.items():
        if isinstance(source, kind):
            return PostgresTaskRepository(executor(source, timeout=timeout, schema=schema), coalescing=coalescing)
    return None


def _check_driver(source: AsyncEngine | AsyncConnection | AsyncSession) -> None:
    """Raise TypeError unless an object of SQLAlchemy's uses asyncpg."""
    dialect = source.get_bind().dialect if isinstance(source, AsyncSession) else source.dialect
    if (dialect.name, dialect.driver) != ("postgresql", "asyncpg"):
        kind = type(source).__name__
        raise TypeError(f"the {kind} uses {dialect.name}+{dialect.driver}; hextasks needs postgresql+asyncpg")


async def _driver_of(connection: AsyncConnection) -> Any:
    raw = await connection.get_raw_connection()
    return raw.driver_connection
