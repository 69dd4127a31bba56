"""A stop: from SIGTERM on the process is not ready, and after a delay, in which load balancers notice that, it drains.

While it drains, requests are rejected, streams end, and requests in progress finish; then the server stops.
"""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from entrypoints.http.server.admission import Admission

QUIET_SECONDS = 0.25
"""Once no request was rejected for this long, every client with a busy connection knows that the process stops."""
LINGER_SECONDS = 1.0
"""The longest time for which requests are rejected while clients keep sending them."""
DRAIN_SECONDS = 10.0
"""How long the requests in progress may take before the port is closed; the server then goes on waiting for them."""


def hangup_signals() -> tuple[signal.Signals, ...]:
    """Return SIGHUP, which the end of a terminal sends, or nothing if `nohup` has the process ignore it."""
    return () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)


@asynccontextmanager
async def draining_on_signal(admission: Admission, *, delay: float) -> AsyncIterator[None]:
    """Drain `delay` seconds after SIGTERM or, unless it is ignored, SIGHUP; then pass SIGTERM on to the server.

    A second signal changes nothing: systemd and terminals signal workers whose parent passes the signal on, too. SIGINT
    stops the server at once. Outside of the main thread, where no signal arrives, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    stop_server = signal.getsignal(signal.SIGTERM)
    draining: set[asyncio.Task[None]] = set()

    async def drain() -> None:
        await asyncio.sleep(delay)
        admission.is_draining = True
        admission.streams.end()
        linger_until = time.monotonic() + LINGER_SECONDS
        drain_until = time.monotonic() + DRAIN_SECONDS
        # Polled, because the absence of requests is not an event.
        while (admission.in_progress and time.monotonic() < drain_until) or (  # noqa: ASYNC110
            admission.drain_rejected_at + QUIET_SECONDS > time.monotonic() < linger_until
        ):
            await asyncio.sleep(0.02)
        if callable(stop_server):
            stop_server(signal.SIGTERM, None)

    def stop(_: int, __: FrameType | None) -> None:
        if not admission.is_stopping:
            admission.is_stopping = True
            loop.call_soon_threadsafe(lambda: draining.add(loop.create_task(drain())))

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, *hangup_signals())}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
