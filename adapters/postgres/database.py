"""One PostgreSQL database: its pool of connections, and the shortest way to run a statement on one of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only, greenlet_spawn

from adapters.postgres.dsn import connect_arguments
from adapters.postgres.errors import Fault, fault, storage_errors
from application import StorageUnavailable

# HikariCP's bypass window: a connection that served this recently is taken as alive, so a busy pool pays for no ping.
TRUST_SECONDS = 0.5
PING_TIMEOUT_SECONDS = 0.5
RENEWAL_PAUSE_SECONDS = 1.0
"""How long a server that takes no writes is believed before all connections are replaced again, to look for another."""

_RUNS_AGAIN = frozenset({Fault.REFUSED, Fault.UNSENT})
_READ_RUNS_AGAIN = _RUNS_AGAIN | {Fault.LOST}
_CAN_SERVE = "SELECT current_setting('transaction_read_only'), 'tasks'::regclass"


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
    timeout: float = 1.5
    """How long a statement may take in all: waiting for a connection, opening it, and the answer."""


class Database:
    """A pool of connections to one database.

    SQLAlchemy keeps the pool; statements run on the asyncpg connection itself, outside any transaction block, so that
    one statement is one round trip. Needs `close` at the end; opens nothing before its first use.
    """

    def __init__(self, url: str, pool: PoolSettings | None = None) -> None:
        """Prepare a pool for a URL as providers hand it out. Raises ValueError when it is none."""
        pool = pool or PoolSettings()
        self.timeout = pool.timeout
        self._pings = pool.pre_ping
        self._usual = asyncio.Semaphore(pool.size)
        self._renewed_at = -RENEWAL_PAUSE_SECONDS
        arguments = {"timeout": pool.timeout, **connect_arguments(url)}

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
        event.listen(self.engine.sync_engine.pool, "connect", _opened)
        event.listen(self.engine.sync_engine.pool, "checkout", self._refuse_dead)
        event.listen(self.engine.sync_engine.pool, "close", _hang_up)

    @asynccontextmanager
    async def connection(self, *, at_once: bool = False) -> AsyncIterator[asyncpg.Connection]:
        """Lend a live connection; `at_once` opens one more rather than wait for a usual one.

        Storage faults inside come out as StorageUnavailable.
        """
        with storage_errors(), nullcontext() if at_once else await self._turn():
            began = time.monotonic()
            borrowed = await self.engine.raw_connection()
            try:
                borrowed.info[_TRUSTED_UNTIL] = 0.0
                yield borrowed.driver_connection
                borrowed.info[_TRUSTED_UNTIL] = time.monotonic() + TRUST_SECONDS  # nothing went wrong
            except Exception as error:
                # What ended this connection may be about to end the others, and who tries again shall not be hit twice.
                # A server that was demoted still answers pings; new connections look for the one that took over.
                if fault(error) in (Fault.LOST, Fault.UNSENT) or (
                    isinstance(error, asyncpg.ReadOnlySQLTransactionError)
                    and began > self._renewed_at + RENEWAL_PAUSE_SECONDS
                ):
                    self._renew(began)
                raise
            finally:
                await greenlet_spawn(borrowed.close)

    async def _turn(self) -> AbstractContextManager[None]:
        """Wait for one of the usual connections half of the time there is, before one more is opened.

        Under load SQLAlchemy's pool would open and close connections beyond its size all the time, which takes longer
        than most waits.
        """
        try:
            async with asyncio.timeout(self.timeout / 2):
                await self._usual.acquire()
        except TimeoutError:
            return nullcontext()
        return _released(self._usual)

    async def fetch(self, sql: str, *arguments: Any, deadline: float | None = None) -> Sequence[Mapping[str, Any]]:
        """Run one statement and return its rows; a second time if the first try provably did nothing.

        All of it takes no longer than the time limit, or than a deadline of the event loop's clock. Raises
        StorageUnavailable.
        """
        return await self._run(sql, arguments, deadline, _RUNS_AGAIN)

    async def read(self, sql: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """Run a statement that writes nothing, a second time if its connection was lost. Raises StorageUnavailable."""
        return await self._run(sql, arguments, None, _READ_RUNS_AGAIN)

    async def _run(
        self, sql: str, arguments: Sequence[Any], deadline: float | None, retried: frozenset[Fault]
    ) -> Sequence[Mapping[str, Any]]:
        deadline = asyncio.get_running_loop().time() + self.timeout if deadline is None else deadline
        with storage_errors():
            async with asyncio.timeout_at(deadline):
                try:
                    return await self._run_once(sql, arguments)
                except StorageUnavailable as error:
                    if fault(error.__cause__) not in retried:
                        raise
                return await self._run_once(sql, arguments)

    async def _run_once(self, sql: str, arguments: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        async with self.connection() as connection:
            rows: Sequence[Mapping[str, Any]] = await connection.fetch(sql, *arguments)
            return rows

    async def ping(self) -> None:
        """Prove that the database answers, has the tables and takes writes. Raises StorageUnavailable."""
        with storage_errors():
            async with asyncio.timeout(self.timeout), self.connection(at_once=True) as connection:
                if await connection.fetchval(_CAN_SERVE) == "on":
                    raise asyncpg.ReadOnlySQLTransactionError("the server takes no writes")

    async def close(self) -> None:
        """Close every connection that is not in use."""
        await self.engine.dispose()

    def _refuse_dead(self, _: Any, entry: ConnectionPoolEntry, __: Any) -> None:
        """Have the pool replace a dead connection before anyone gets it.

        A closed one is known without asking; one that idled, or whose last use failed, is asked; one that served a
        moment ago is trusted.
        """
        connection: Any = entry.driver_connection
        if connection.is_closed() or entry.info[_OPENED_AT] < self._renewed_at:
            raise exc.DisconnectionError
        if not self._pings or time.monotonic() < entry.info.get(_TRUSTED_UNTIL, 0.0):
            return
        began = time.monotonic()
        try:
            # Not the driver's own limit, which does not count the wait for a statement that was cut off.
            await_only(asyncio.wait_for(connection.fetchval("SELECT 1"), PING_TIMEOUT_SECONDS))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                self._renew(began)  # a server that vanished without a word took the others along
            raise exc.DisconnectionError from error

    def _renew(self, opened_before: float) -> None:
        """Have every connection that was opened before a time replaced before its next use."""
        self._renewed_at = max(self._renewed_at, opened_before)


_OPENED_AT, _TRUSTED_UNTIL = "opened_at", "trusted_until"


@contextmanager
def _released(semaphore: asyncio.Semaphore) -> Iterator[None]:
    try:
        yield
    finally:
        semaphore.release()


def _opened(_: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_OPENED_AT] = time.monotonic()
    entry.info[_TRUSTED_UNTIL] = time.monotonic() + TRUST_SECONDS


def _hang_up(connection: Any, _: Any) -> None:
    """Close without a word: SQLAlchemy would wait two seconds for the answer of a server that is away."""
    connection.driver_connection.terminate()
