"""The HTTP/1.1 parser: uvicorn's, with bounds on the head of a request, and refusals in our own form.

It judges what never becomes a request: bytes that are no HTTP, and heads that never end.
"""

import asyncio
import logging
from http import HTTPStatus
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from entrypoints.http.edge import SECURITY_HEADERS
from entrypoints.http.problems import KINDS, PROBLEM_MEDIA_TYPE, encoded_problem

MAX_HEAD_BYTES = 2 * 1024 * 1024
"""Request line and headers. Nobody needs a token to send them, so nobody may make us keep any number; yet a token of a
megabyte shall hear from the guard that it is none."""
HEAD_SECONDS = 10.0
"""How long a head may take, and how long a new connection may say nothing."""
READ_SECONDS = 60.0
"""How long a client may take to read what it asked for, until we no longer keep it ready."""

_log = logging.getLogger("hextasks.request")


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _is_in_head = False
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for the first head."""
        super().connection_made(transport)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._head_timer, self._read_timer):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on a head that grows too long."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The headers are too large.")
            elif not self._head_timer:
                self._time_head()

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head_bytes, self._is_in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body has bounds of its own."""
        self._is_in_head = False
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Give a client that does not read its answer time to do so."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._read_timer:
            self._read_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse("validation_error", msg)

    def _time_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end_late_head)

    def _end_late_head(self) -> None:
        if self._is_in_head:
            self._refuse("request_timeout")
        else:
            self.transport.close()

    def _refuse(self, code: str, detail: str = "") -> None:
        """Answer with a problem, as everywhere else, and close the connection."""
        if self.transport.is_closing():
            return
        request_id, status = str(uuid4()), HTTPStatus(KINDS[code].status)
        body = encoded_problem(code, detail, instance="/", request_id=request_id)
        headers = {
            "content-type": PROBLEM_MEDIA_TYPE,
            "content-length": len(body),
            "x-request-id": request_id,
            "connection": "close",
            **{name.decode(): value.decode() for name, value in SECURITY_HEADERS},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status} {status.phrase}\r\n{head}\r\n".encode() + body)
        self.transport.close()
        _log.info("request", extra={"fields": {"status": status, "request_id": request_id, "code": code}})
