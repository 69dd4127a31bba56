"""One request on a connection, and the response to it, between the wire and ASGI."""

import asyncio
import logging
from http import HTTPStatus
from itertools import chain
from sys import getsizeof
from typing import Protocol

from uvicorn.server import ServerState

from entrypoints.http.server.asgi import CLOSE, App, HeaderList, Message, Scope
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.output import Output
from entrypoints.logs import FailureLog

_failures = FailureLog(logging.getLogger("hextasks.http"))
_STATUS_LINES = {status.value: f"HTTP/1.1 {status} {status.phrase}\r\n".encode() for status in HTTPStatus}
LARGE_BYTES = 65_536
"""A larger body is sent in pieces, as the client reads it."""
_CHUNKED = (b"transfer-encoding", b"chunked")


class Wire(Protocol):
    """What a cycle needs of its connection."""

    output: Output

    def resume_reading(self) -> None:
        """Read more of the request's body, which the application asks for."""

    def end_response(self) -> None:
        """Continue with the next request, or close if the connection does not outlive the response."""

    def evict(self) -> None:
        """Close at once, without the rest of a response."""


def encode_head(status: int, headers: HeaderList) -> bytes:
    """Return the status line and the headers of a response. Raises ValueError for a header that would end its line."""
    lines = b"\r\n".join(map(b": ".join, headers))
    if not lines.count(b"\n") == lines.count(b"\r") == len(headers) - 1 or b"\0" in lines:
        raise ValueError("a response header contains a control character")
    return b"%b%b\r\n\r\n" % (_STATUS_LINES[status], lines)


class Cycle:
    """A request that is arriving, queued or in progress."""

    __slots__ = (
        "_changed",
        "_content_left",
        "_has_body_been_read",
        "_head",
        "_is_head_request",
        "_output",
        "_server",
        "_status",
        "_wire",
        "body",
        "expects_continue",
        "has_input_ended",
        "is_complete",
        "is_disconnected",
        "is_finished",
        "is_started",
        "keep_alive",
        "scope",
    )

    def __init__(
        self, wire: Wire, server: ServerState, scope: Scope, *, keep_alive: bool, expects_continue: bool
    ) -> None:
        """Begin when the head of a request has arrived."""
        self.scope = scope
        self.keep_alive = keep_alive
        """Whether the connection outlives the response."""
        self.expects_continue = expects_continue
        """Whether the client waits for permission to send the body."""
        self.body = bytearray()
        """The part of the body that has arrived and was not yet passed to the application."""
        self.is_complete = False
        """Whether the whole request has arrived."""
        self.is_started = False
        """Whether it was passed to the application, or rejected."""
        self.is_finished = False
        """Whether the whole response was written."""
        self.is_disconnected = False
        self.has_input_ended = False
        """Whether the client sends no more. To an application that waits for it to disconnect, it has."""
        self._wire = wire
        self._output = wire.output
        self._server = server
        self._is_head_request = scope["method"] == "HEAD"
        self._changed: asyncio.Event | None = None
        self._has_body_been_read = False
        self._status = 0
        self._head = b""
        """Not yet written, so that head and body become one write."""
        self._content_left: int | None = None
        """How much of the announced content is still to come; None if it comes in chunks."""

    async def run(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        """Call the application as one of the server's tasks, on the running loop."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:
            _failures.unexpected("internal_error", error, **Exchange.of(self.scope).ids)
        finally:
            self._server.tasks.discard(asyncio.current_task(loop))
            if not self.is_finished and not self.is_disconnected:
                self._wire.evict()

    @property
    def held_bytes(self) -> int:
        """The length of the body and the memory of the head, which is many times its length if headers are short."""
        head = self.scope["raw_path"], self.scope["query_string"], *chain(*self.scope["headers"])
        return len(self.body) + sum(map(getsizeof, head))

    def add_to_body(self, body: bytes) -> None:
        """Add a part of the body, unless the response is complete."""
        if not self.is_finished:
            self.body += body
            self._notify()

    def ignore_body(self) -> None:
        """Keep no more of the body, because the request was rejected."""
        self.is_finished = True
        self.body.clear()

    def complete(self) -> None:
        """Mark the request as complete."""
        self.is_complete = True
        self._notify()

    def end_input(self) -> None:
        """Mark the client, whose request is complete, as one that sends no more."""
        self.has_input_ended = True
        self._notify()

    def disconnect(self) -> None:
        """Mark the client as disconnected."""
        self.is_disconnected = True
        self._notify()

    def _notify(self) -> None:
        if self._changed:
            self._changed.set()

    async def receive(self) -> Message:
        """Return the next part of the request, or wait for the client to disconnect or the response to be complete."""
        while not (self.body or self.is_finished or self.is_disconnected or self.has_input_ended) and (
            self._has_body_been_read or not self.is_complete
        ):
            self._changed = self._changed or asyncio.Event()
            self._changed.clear()
            self._wire.resume_reading()
            await self._changed.wait()
        if self.is_finished or self.is_disconnected or (self.has_input_ended and self._has_body_been_read):
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        self._has_body_been_read = self.is_complete
        return {"type": "http.request", "body": body, "more_body": not self.is_complete}

    async def send(self, message: Message) -> None:
        """Write a part of the response. Raises ValueError for one that is not well-formed."""
        await self._output.drain()
        if self.is_disconnected:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _start(self, status: int, headers: HeaderList) -> None:
        if self._status:
            raise ValueError("a second response")
        named = dict(headers)
        lines = [*self._server.default_headers, *headers]
        if (length := named.get(b"content-length")) is not None:
            self._content_left = int(length)
        elif self._is_head_request or status in (204, 304):
            self._content_left = 0
        elif self.scope["http_version"] == "1.1":
            lines.append(_CHUNKED)
        else:
            self.keep_alive = False  # the end of the connection is the end of the content
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(CLOSE)
        self._status, self._head = status, encode_head(status, lines)
        if self._content_left is None:  # content of unknown length may take long
            self._write(b"", more=True)

    def _write(self, body: bytes, *, more: bool) -> None:
        if not self._status or self.is_finished:
            raise ValueError("content without a response")
        if self._is_head_request:
            body, self._content_left = b"", 0
        elif self._content_left is not None:
            self._content_left -= len(body)
            if self._content_left < 0 or (self._content_left and not more):
                raise ValueError("the content does not have the announced length")
        elif self.scope["http_version"] == "1.1":
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        is_large = not more and len(body) > LARGE_BYTES
        if not is_large and (data := self._head + body):
            (self._output.write if more else self._output.write_last)(data)
            self._head = b""
        if not more:
            self.is_finished = True
            self.body.clear()
            self._notify()
            if is_large:
                self._output.write_large(self._head, body)
            else:
                self._wire.end_response()
