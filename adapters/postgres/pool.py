"""A pool of asyncpg connections. Lending and returning one that was used recently are list operations."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from time import monotonic

import asyncpg

from adapters.postgres.deadline import DEFAULT_TIMEOUT
from adapters.postgres.errors import Fault, fault

TRUST_SECONDS = 0.5
"""A connection used this recently is taken as alive (HikariCP's bypass window), so that a busy pool does not ping."""
PING_TIMEOUT_SECONDS = 0.5
"""At most a third of the time limit of a statement, so that time is left to replace a connection."""
RENEWAL_PAUSE_SECONDS = 1.0
"""The shortest time between two replacements of all connections because of a read-only server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How connections are kept. Times are in seconds."""

    size: int = 10
    """Connections kept open."""
    max_overflow: int = 20
    """Connections opened beyond `size` while all are in use, and closed when they are returned."""
    pre_ping: bool = True
    """Whether a connection that has idled for half a second is pinged before it is lent."""
    recycle: float = 3600.0
    """The age at which a connection is replaced."""
    timeout: float = DEFAULT_TIMEOUT
    """How long a statement may take in all: waiting for a connection, opening it, and the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """How a pool is used at present."""

    in_use: int
    """Connections that are lent or being opened."""
    idle: int
    waiting: int
    """Callers that wait for a connection."""


@dataclass(slots=True, kw_only=True, eq=False)
class PooledConnection:
    """A connection and what the pool knows about it. Times are those of the monotonic clock."""

    connection: asyncpg.Connection
    opened_at: float
    expires_at: float
    trusted_until: float = 0.0
    lent_at: float = 0.0


class Pool:
    """Connections to one database, for one event loop.

    Up to `size` are kept. A caller that finds all of them in use waits, first come, first served; at a time
    of its own, one more is opened for it, up to `max_overflow`. Every connection that was lent has to be released.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], settings: PoolSettings) -> None:
        self._connect = connect
        self._settings = settings
        self._idle: list[PooledConnection] = []  # the one used last stands last
        self._waiters: deque[asyncio.Future[PooledConnection | None]] = deque()
        # How many are lent or being opened. Idle ones are kept only up to `size` in all, so none idles while a caller
        # waits.
        self._in_use = 0
        self._renewed_at = -inf
        self._cleaning: set[asyncio.Task[None]] = set()  # the event loop keeps weak references only

    def take(self) -> PooledConnection | None:
        """Lend the connection used last if it is known to be alive; return None where `acquire` is needed."""
        if not self._idle:
            return None
        lent, now = self._idle[-1], monotonic()
        if now >= lent.trusted_until or lent.connection.is_closed():
            return None
        self._idle.pop()
        self._in_use += 1
        lent.lent_at = now
        return lent

    async def acquire(self, overflow_at: float, *, at_once: bool = False) -> PooledConnection:
        """Lend a live connection, waiting for it, pinging or opening it as needed.

        One beyond `size` is opened when `overflow_at` has come, by the event loop's clock, or `at_once`. Raises what
        opening raises.
        """
        lent = await self._acquire_slot(overflow_at, at_once=at_once)
        try:
            if lent is None or not await self._is_alive(lent):
                lent = None
                lent = await self._open()
        except BaseException:
            self._free_slot(lent)
            raise
        lent.lent_at = monotonic()
        return lent

    def release(self, lent: PooledConnection, error: BaseException | None = None) -> None:
        """Take a connection back, with the error that ended its use, if any.

        After a cancellation, it is pinged before it counts as returned.
        """
        if error is None:
            trusted_for = TRUST_SECONDS if self._settings.pre_ping else inf
            lent.trusted_until = min(monotonic() + trusted_for, lent.expires_at)
        else:
            lent.trusted_until = 0.0
            # What ended this connection may be about to end the others: replace them all, so that a retry does not meet
            # the same fault. A server that was demoted still answers pings; a new connection looks for its successor.
            if fault(error) in (Fault.LOST, Fault.UNSENT) or (
                isinstance(error, asyncpg.ReadOnlySQLTransactionError)
                and lent.lent_at > self._renewed_at + RENEWAL_PAUSE_SECONDS
            ):
                self.renew(lent.lent_at)
            if isinstance(error, asyncio.CancelledError):
                task = asyncio.get_running_loop().create_task(self._clean(lent))
                self._cleaning.add(task)
                task.add_done_callback(self._cleaning.discard)
                return
        self._free_slot(lent)

    @property
    def limit(self) -> int:
        """How many connections may be open."""
        return self._settings.size + self._settings.max_overflow

    def counts(self) -> PoolCounts:
        """Return how many connections are in use and idle now, and how many callers wait."""
        waiting = sum(not waiter.done() for waiter in self._waiters)
        return PoolCounts(in_use=self._in_use, idle=len(self._idle), waiting=waiting)

    def close(self) -> None:
        """Terminate the connections that are not in use now, and the others as soon as they are released."""
        self.renew(inf)

    def renew(self, opened_before: float) -> None:
        """Have every connection that was opened before a time replaced before its next use."""
        self._renewed_at = max(self._renewed_at, opened_before)
        old = [lent for lent in self._idle if lent.opened_at < self._renewed_at]
        self._idle = [lent for lent in self._idle if lent.opened_at >= self._renewed_at]
        for lent in old:
            lent.connection.terminate()

    async def _acquire_slot(self, overflow_at: float, *, at_once: bool) -> PooledConnection | None:
        """Wait until one more connection may be in use; return an idle one, or None when it has to be opened."""
        settings = self._settings
        if self._in_use < (self.limit if at_once else settings.size):
            self._in_use += 1
            return self._idle.pop() if self._idle else None
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[PooledConnection | None] = loop.create_future()
        self._waiters.append(waiter)
        overflow_timer = loop.call_at(overflow_at, self._allow_overflow, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # the slot came together with the cancellation
                self._free_slot(waiter.result())
            raise
        finally:
            overflow_timer.cancel()

    def _allow_overflow(self, waiter: "asyncio.Future[PooledConnection | None]") -> None:
        if not waiter.done() and self._in_use < self.limit:
            self._in_use += 1
            waiter.set_result(None)

    def _free_slot(self, lent: PooledConnection | None) -> None:
        """Pass a slot, and its connection, to the caller that has waited longest; if none waits, keep it idle."""
        if lent is not None and lent.opened_at < self._renewed_at:
            lent.connection.terminate()
            lent = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(lent)
                return
        self._in_use -= 1
        if lent is None:
            return
        is_surplus = self._in_use + len(self._idle) >= self._settings.size
        if is_surplus:
            lent.connection.terminate()
        elif lent.trusted_until:
            self._idle.append(lent)
        else:
            self._idle.insert(0, lent)  # behind those that need no ping

    async def _open(self) -> PooledConnection:
        now = monotonic()
        connection = await self._connect()
        return PooledConnection(connection=connection, opened_at=now, expires_at=now + self._settings.recycle)

    async def _clean(self, lent: PooledConnection) -> None:
        """End what a cancelled statement has begun, and take the connection back.

        If the driver has only prepared the statement, the server holds its locks until the next message.
        """
        try:
            is_alive = await self._is_alive(lent)
        except BaseException:
            self._free_slot(lent)
            raise
        if is_alive:
            self.release(lent)
        else:
            self._free_slot(None)

    async def _is_alive(self, lent: PooledConnection) -> bool:
        """Return whether a connection is usable, pinging it if that is unknown; terminate one that is not."""
        now = monotonic()
        if not lent.connection.is_closed() and now < lent.expires_at:
            if now < lent.trusted_until:
                return True
            lent.trusted_until = 0.0
            try:
                async with asyncio.timeout(min(PING_TIMEOUT_SECONDS, self._settings.timeout / 3)):
                    await lent.connection.execute("SELECT 1")
                if lent.opened_at >= self._renewed_at:  # no connection was lost meanwhile
                    return True
            except TimeoutError:
                self.renew(now)  # a server that stopped answering does so on the other connections, too
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                pass
        lent.connection.terminate()  # without a handshake, to which a lost server would not respond
        return False
