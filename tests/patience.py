"""How long tests wait for other processes, and let the service take: far longer than needed, even on a busy machine."""

import asyncio
import time
from collections.abc import Awaitable, Callable

DEADLINE_SECONDS = 20.0
"""Less than the limits of the service, so that reaching one of those does not end the wait."""
SERVER_DEADLINE_SECONDS = 60.0
"""For a PostgreSQL server that starts, recovers or ends."""
DATABASE_TIMEOUT_SECONDS = 15.0
REQUEST_TIMEOUT_SECONDS = 60.0
GENEROUS = {"DATABASE_TIMEOUT": f"{DATABASE_TIMEOUT_SECONDS}", "REQUEST_TIMEOUT": f"{REQUEST_TIMEOUT_SECONDS}"}
"""Settings of a service that is not tested for its limits."""


def eventually(true: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def until(true: Callable[[], Awaitable[bool]], seconds: float = SERVER_DEADLINE_SECONDS) -> float:
    """Wait until something is true, and return the seconds that it took."""
    began = time.monotonic()
    while not await true():
        assert time.monotonic() < began + seconds, "it did not happen in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - began
