"""The door: how many requests are inside at once, and whether any more come in."""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

QUIET_SECONDS = 0.25
"""A stopping service that has refused nobody for this long has told everyone who keeps a connection busy."""
LINGER_SECONDS = 1.0
"""How long a stopping service goes on refusing politely while clients keep coming."""
DRAIN_SECONDS = 10.0
"""How long a stopping service waits for those inside before it closes its port; the server then waits on."""
LIVE, READY = b"/health/live", b"/health/ready"


class Crowded(Exception):
    """Much is going on, and much of it is this user's; nothing was done."""


class Admission:
    """Lets requests in while there is room, and nobody but the liveness probe once the service is to stop.

    More requests at once than the service can work on would only make all of them late; what is refused at once can be
    sent again, here or elsewhere, for nothing has been done about it. Health probes come in always, and uncounted.
    """

    def __init__(self, limit: int) -> None:
        """Bound the number of requests inside at once."""
        self._limit = limit
        self._inside = 0
        self._inside_by_user: Counter[str] = Counter()
        self._refused_at = 0.0
        self.is_stopping = False
        """Whether answers are the last on their connections."""

    def admit(self, path: bytes) -> str | None:
        """Let a request to a path in until it leaves, or return the problem code with which it is refused."""
        if self.is_stopping and path != LIVE:
            self._refused_at = time.monotonic()
            return "shutting_down"
        if path not in (LIVE, READY):
            if self._inside >= self._limit:
                return "overloaded"
            self._inside += 1
        return None

    def share(self, user_id: str) -> None:
        """Let a request that is inside go on as this user's. Raises Crowded.

        The last tenth of the room is for those who have less than a quarter of it.
        """
        if self._inside > self._limit * 0.9 and self._inside_by_user[user_id] >= self._limit / 4:
            raise Crowded
        self._inside_by_user[user_id] += 1

    def leave(self, path: bytes, user_id: str | None) -> None:
        """Let a request out, and give back what its user had of the room."""
        if path not in (LIVE, READY):
            self._inside -= 1
        if user_id is not None:
            self._inside_by_user[user_id] -= 1
            if not self._inside_by_user[user_id]:
                del self._inside_by_user[user_id]

    @asynccontextmanager
    async def stopped_by_signal(self) -> AsyncIterator[None]:
        """Refuse from SIGTERM on, and pass it to the server when those inside are done and nobody comes.

        SIGHUP, which the end of a terminal sends, does the same. Where no signal arrives, outside of the main thread,
        this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        stop_server = signal.getsignal(signal.SIGTERM)
        draining: set[asyncio.Task[None]] = set()

        async def drain() -> None:
            linger_until = time.monotonic() + LINGER_SECONDS
            drain_until = time.monotonic() + DRAIN_SECONDS
            # Polled, because nothing tells that nobody comes any more.
            while (self._inside and time.monotonic() < drain_until) or (  # noqa: ASYNC110
                self._refused_at + QUIET_SECONDS > time.monotonic() < linger_until
            ):
                await asyncio.sleep(0.02)
            stop(signal.SIGTERM, None)

        def stop(_: int, frame: FrameType | None) -> None:
            if not self.is_stopping:
                self.is_stopping = True
                loop.call_soon_threadsafe(lambda: draining.add(loop.create_task(drain())))
            elif callable(stop_server):
                stop_server(signal.SIGTERM, frame)

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        yield
