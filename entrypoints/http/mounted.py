"""The API within somebody else's application: what ExchangeLayer does for it there.

The rest is the host's: which requests are admitted and how long they may take, connections, security headers.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from entrypoints.http.server.admission import Admission
from entrypoints.http.server.asgi import CLOSE, App, Message
from entrypoints.http.server.exchange import SCOPE_KEY, Exchange
from entrypoints.http.server.layer import CACHE_CONTROL
from entrypoints.http.server.streams import Streams


class MountedLayer:
    """A middleware of the API's routes: gives requests their exchange, responses their headers and their stream."""

    def __init__(self, app: App, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, which has been routed."""
        exchange = scope[SCOPE_KEY] = Exchange.begin({**scope})  # which prepares only the copy for routing
        exchange.slot = self._admission.admit(b"")

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [each for each in message["headers"] if each != CLOSE]  # connections are the host's
                given = dict(headers)
                added = [CACHE_CONTROL, (b"x-request-id", exchange.request_id.encode())]
                message["headers"] = [*headers, *exchange.headers, *(each for each in added if each[0] not in given)]
            await send(message)

        try:
            await self._app(scope, receive, send_completed)
            if exchange.stream and exchange.stream.has_begun:
                exchange.slot.leave()
                await exchange.stream.run(receive, send)
        finally:
            exchange.slot.leave()
            if exchange.stream:
                exchange.stream.leave()


@contextmanager
def ending_on_signal(streams: Streams) -> Iterator[None]:
    """End all streams when the server receives a signal to stop, because servers wait for responses before they stop.

    The signals reach the server's own handlers, too. Outside of the main thread, where none arrives, this does nothing.
    """
    streams.have_ended = False  # the application may be started again
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def end(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(streams.end)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        streams.end()
