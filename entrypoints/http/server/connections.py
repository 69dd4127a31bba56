"""The open connections of one port: bounds their number, and how long each may wait for its client."""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Protocol

from entrypoints.http.server.limits import ServerLimits

REPORT_SECONDS = 60.0
"""While the bound stays reached, one log line in this time says so."""
GRACE_SECONDS = 1.0
"""An idle connection is preferred to one with a slow client only after this time: a new one is about to be used."""
_log = logging.getLogger("hextasks.http")


class Connection(Protocol):
    """What the queues need of a connection."""

    queue: "WaitQueue | None"
    """The queue that it is in."""

    def expire(self, queue: "WaitQueue") -> None:
        """End: the client has taken too long. The connection has left the queue."""

    def evict(self, queue: "WaitQueue") -> None:
        """Close at once, in favour of another. The connection has left the queue."""


class WaitQueue:
    """Connections that wait for their clients to do the same thing within the same time, the longest wait first."""

    def __init__(self, seconds: float, max_bytes: int = 0) -> None:
        """Let each connection wait for so many seconds, and hold so many bytes for all of them."""
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._since: OrderedDict[Connection, float] = OrderedDict()
        self._held: OrderedDict[Connection, int] = OrderedDict()
        self.held_bytes = 0
        """What is held for all of them."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Put a connection at the end."""
        self._since[connection] = time.monotonic()  # the loop's time has milliseconds, in which several may be added
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def remove(self, connection: Connection) -> None:
        """Take a connection out, with what is held for it."""
        del self._since[connection]
        self.held_bytes -= self._held.pop(connection, 0)

    def hold(self, connection: Connection, size: int) -> None:
        """Set how many bytes are held for a connection of the queue.

        Beyond the limit of all, evict those for which something has been held for longest.
        """
        self.held_bytes += size - self._held.get(connection, 0)
        self._held[connection] = size
        if not size:
            del self._held[connection]
        while self.held_bytes > self._max_bytes:
            first = next(iter(self._held))
            move(first, None)
            first.evict(self)

    def first(self) -> Connection | None:
        """Return the connection that has waited longest."""
        return next(iter(self._since), None)

    def waited(self) -> float:
        """Return for how many seconds that one has waited; -1 if there is none."""
        for since in self._since.values():
            return time.monotonic() - since
        return -1.0

    def _expire(self) -> None:
        """End the waits that took too long, and look again when the next one may have."""
        self._timer = None
        while connection := self.first():
            if (left := self._seconds - self.waited()) > 0:
                self._timer = asyncio.get_running_loop().call_later(left, self._expire)
                return
            move(connection, None)
            connection.expire(self)


def move(connection: Connection, queue: WaitQueue | None) -> None:
    """Put a connection into another queue, or into none; in the same one it keeps its place."""
    if (before := connection.queue) is not queue:
        if before is not None:
            before.remove(connection)
        connection.queue = queue
        if queue is not None:
            queue.add(connection)


class Connections:
    """The open connections of one port; those with a request in progress are in no queue."""

    def __init__(self, limits: ServerLimits, limit: int, *, paths: frozenset[bytes] | None = None) -> None:
        """Keep at most `limit` connections open."""
        self.limit, self.open, self.closed = limit, 0, 0
        """How many may be open, how many are, and how many were closed because more than the limit were."""
        self.paths = paths
        """The only paths that the port serves, or None for all."""
        self.silent = WaitQueue(limits.request_seconds)
        """Those that have sent nothing."""
        self.idle = WaitQueue(limits.keep_alive_seconds)
        """Those between two requests."""
        self.arriving = WaitQueue(limits.request_seconds, limits.arriving_bytes)
        """Those that have sent a part of a request."""
        self.unread = WaitQueue(limits.read_seconds, limits.unread_bytes)
        """Those whose client does not read what was written."""
        self._reported, self._report_at = 0, 0.0

    def opened(self, connection: Connection) -> None:
        """Count a new connection; beyond the limit, close the one that has waited longest for its client.

        The first choice is one that has been idle for a second, the next one whose client has been slow for longest,
        the last one that has only become idle. If all have a request in progress, the new one is closed.
        """
        self.open += 1
        if self.open > self.limit:
            self._report()
            idle = max(self.silent, self.idle, key=WaitQueue.waited)
            slow = max(self.arriving, self.unread, key=WaitQueue.waited)
            if not self._evict_first(slow if slow.first() and idle.waited() < GRACE_SECONDS else idle):
                connection.evict(self.silent)
                return
        move(connection, self.silent)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.open -= 1
        move(connection, None)

    def _evict_first(self, queue: WaitQueue) -> bool:
        """Close the first connection of a queue. Return whether there was one."""
        connection = queue.first()
        if connection:
            move(connection, None)
            connection.evict(queue)
        return connection is not None

    def _report(self) -> None:
        self.closed += 1
        if time.monotonic() >= self._report_at:
            fields = {"limit": self.limit, "closed": self.closed - self._reported}
            _log.warning("connection_limit_reached", extra={"fields": fields})
            self._reported, self._report_at = self.closed, time.monotonic() + REPORT_SECONDS
