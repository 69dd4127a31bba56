"""Streams: responses that go on until something ends them. Their limits are apart from those of requests."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from entrypoints.http.server.asgi import Receive, Send

FLUSH_SECONDS = 1.0
"""For a client to read what was written to a stream that has ended; then the connection is reset."""
Body = Callable[[Send], Awaitable[None]]
"""Sends the parts of a response's body, each with `more_body`. Cancelled when the stream has to end."""
_jitter = Random()  # noqa: S311


class TooManyStreams(Exception):
    """No stream was opened. `code` is the problem code of the response, and the text its detail."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Streams:
    """The open streams of one process: bounds their number, and ends them all at a stop."""

    def __init__(self, *, limit: int, limit_per_user: int, seconds: float) -> None:
        """Bound the streams of the process, those of each user, and, give or take a tenth, the time of each."""
        self.seconds, self.limit = seconds, limit
        self.open: set[Stream] = set()
        self.open_by_user: Counter[str] = Counter()
        self.have_ended = False
        """Whether the process stops, so that a stream ends as soon as it begins."""
        self._limit_per_user = limit_per_user

    def admit(self, user_id: str) -> "Stream":
        """Open a stream, which counts until it is left. Raises TooManyStreams."""
        if self.open_by_user[user_id] >= self._limit_per_user:
            raise TooManyStreams("rate_limited", "This user has as many open streams as are allowed.")
        if len(self.open) >= self.limit:
            raise TooManyStreams("overloaded", "The service has as many open streams as it can serve.")
        return Stream(self, user_id)

    def end(self) -> None:
        """End all streams."""
        self.have_ended = True
        for stream in self.open:
            stream.end()


class Stream:
    """One of them. Counted when it is made."""

    __slots__ = ("_body", "_seconds", "_streams", "_timeout", "_user_id")

    def __init__(self, streams: Streams, user_id: str) -> None:
        self._streams = streams
        self._user_id = user_id
        self._body: Body | None = None
        self._seconds = 0.0
        self._timeout: asyncio.Timeout | None = None
        streams.open.add(self)
        streams.open_by_user[user_id] += 1

    def begin(self, body: Body, *, at_most: float) -> None:
        """Continue the response with a body, at most for so many seconds, when its status and headers were sent."""
        self._body = body
        # With jitter, so that streams that began together do not end together.
        self._seconds = min(at_most, self._streams.seconds * _jitter.uniform(0.9, 1.1))

    @property
    def has_begun(self) -> bool:
        """Whether there is a body to continue with."""
        return self._body is not None

    async def run(self, receive: Receive, send: Send) -> None:
        """Send the body, until it or its time ends, the client disconnects, or the process stops."""
        assert self._body  # noqa: S101
        timeout = self._timeout = asyncio.timeout(self._seconds)
        try:
            async with timeout:
                disconnected = asyncio.create_task(self._end_after(receive))
                if self._streams.have_ended:
                    self.end()
                try:
                    await self._body(send)
                finally:
                    disconnected.cancel()
        except TimeoutError:
            if not timeout.expired():
                raise
        finally:
            self._timeout = None
        with suppress(TimeoutError):  # without its end, the response ends with the connection
            async with asyncio.timeout(FLUSH_SECONDS):
                await send({"type": "http.response.body", "body": b""})

    def end(self) -> None:
        """Cancel the body, if the stream runs."""
        if self._timeout and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def leave(self) -> None:
        """Count the stream no longer. Only the first call counts."""
        if self in self._streams.open:
            self._streams.open.remove(self)
            self._streams.open_by_user[self._user_id] -= 1
            if not self._streams.open_by_user[self._user_id]:
                del self._streams.open_by_user[self._user_id]

    async def _end_after(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()
