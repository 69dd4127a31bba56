"""The door: how many requests are inside at once, and whether any more come in."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

QUIET_SECONDS = 0.25
"""A stopping service that has refused nobody for this long has told everyone who keeps a connection busy."""
LINGER_SECONDS = 1.0
"""How long a stopping service goes on refusing politely while clients keep coming."""
LIVE = "/health/live"


class Admission:
    """Lets requests in while there is room, and nobody but the liveness probe once the service is to stop.

    More requests at once than the service can work on would only make all of them late; what is refused at once can be
    sent again, here or elsewhere, for nothing has been done about it.
    """

    def __init__(self, limit: int) -> None:
        """Bound the number of requests inside at once. Health probes are not counted."""
        self._limit = limit
        self._inside = 0
        self.is_stopping = False
        """Whether answers are the last on their connections."""
        self._refused_at = 0.0

    def refusal(self, path: str) -> str | None:
        """Return the problem code with which a request to a path is refused, or None if it may come in."""
        if self.is_stopping and path != LIVE:
            self._refused_at = time.monotonic()
            return "shutting_down"
        if self._inside >= self._limit and not path.startswith("/health/"):
            return "overloaded"
        return None

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count a request as long as it is worked on."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def stopped_by_sigterm(self) -> AsyncIterator[None]:
        """Refuse from SIGTERM on, and pass the signal to the server when those inside are done and nobody comes."""
        if threading.current_thread() is not threading.main_thread():
            yield  # where no signal arrives
            return
        loop = asyncio.get_running_loop()
        stop_server = signal.getsignal(signal.SIGTERM)
        draining: set[asyncio.Task[None]] = set()

        async def drain() -> None:
            linger_until = time.monotonic() + LINGER_SECONDS
            # Polled, because nothing tells that nobody comes any more.
            while self._inside or self._refused_at + QUIET_SECONDS > time.monotonic() < linger_until:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            stop(signal.SIGTERM, None)

        def stop(number: int, frame: FrameType | None) -> None:
            if self.is_stopping and callable(stop_server):
                stop_server(number, frame)
            elif not self.is_stopping:
                self.is_stopping = True
                loop.call_soon_threadsafe(lambda: draining.add(loop.create_task(drain())))

        signal.signal(signal.SIGTERM, stop)
        yield
