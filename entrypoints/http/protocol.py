"""The HTTP/1.1 parser: uvicorn's, with bounds on what it takes in, and refusals in our own form.

It judges what is no request, what never becomes a whole one, and what there is no room for. Only whole requests come
in, so that nobody who dawdles takes the room of others.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from entrypoints.http.bodies import MAX_BODY_BYTES
from entrypoints.http.edge import CLOSE, request_id_of
from entrypoints.http.problems import KINDS

MAX_HEAD_BYTES = 2 * 1024 * 1024
"""Request line and headers. Nobody needs a token to send them, so nobody may make us keep any number; yet a token of a
megabyte shall hear from the guard that it is none."""
REFUSED_PAUSE_SECONDS = 1.0
"""How long a connection waits for its next turn after a request of it was refused: as long as that was told to wait."""
READ_SECONDS = 60.0
"""How long a client may take to read what it asked for, until we no longer keep it ready."""

_log = logging.getLogger("hextasks.request")


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _is_in_head = _is_arriving = False
    _held: Any = None
    """The application, which is not called before the request is whole."""
    _arrival_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        self._time_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._arrival_timer, self._read_timer):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on a head that grows too long."""
        super().data_received(data)
        if self._is_arriving and not self._arrival_timer:
            self._time_arrival()
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head_bytes, self._is_in_head, self._is_arriving = 0, True, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body has a bound of its own."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a body in up to its bound; beyond that it is the application's to refuse."""
        super().on_body(body)
        if self._held and len(self.cycle.body) > MAX_BODY_BYTES:
            self._start_asgi_task(self.cycle, self._held)

    def on_message_complete(self) -> None:
        """Let the whole request in."""
        self._is_arriving = False
        if self._arrival_timer:
            self._arrival_timer.cancel()
            self._arrival_timer = None
        super().on_message_complete()
        if self._held:
            self._start_asgi_task(self.cycle, self._held)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Call the application, unless the request has not come whole yet, or there is no room for it.

        Asked here and not behind, because refusing so costs a third: who has too much to do must not spend the time on
        saying so.
        """
        if cycle.more_body and len(cycle.body) <= MAX_BODY_BYTES:
            self._held = app
            if cycle.waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                cycle.waiting_for_100_continue = False
            return
        self._held = None
        if code := self.app.admission.refusal(cycle.scope["path"]):
            cycle.response_complete = True
            keeps = cycle.keep_alive and code != "shutting_down"
            self._refuse(code, scope=cycle.scope, keeps=keeps)
            # The next turn of this connection comes later: to refuse a client that asks again and again costs nearly as
            # much as to serve another.
            self.flow.pause_reading()
            self.loop.call_later(REFUSED_PAUSE_SECONDS, self.on_response_complete)
        else:
            super()._start_asgi_task(cycle, app)

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

    def _time_arrival(self) -> None:
        self._arrival_timer = self.loop.call_later(self.app.timeout, self._end_late_arrival)

    def _end_late_arrival(self) -> None:
        if not self._held and not getattr(self.cycle, "response_complete", True):
            self._time_arrival()  # the one before it on this connection is still being answered
        elif self._is_arriving:
            self._refuse("request_timeout", scope=self.cycle.scope if self._held else None)
        else:
            self.transport.close()

    def _refuse(self, code: str, detail: str = "", *, scope: Any = None, keeps: bool = False) -> None:
        """Answer with a problem, as everywhere else; unless it `keeps` the connection, that is the end of it."""
        if self.transport.is_closing():
            return
        scope = scope or {"method": None, "raw_path": b"/", "headers": []}
        path = scope["raw_path"].decode("ascii", "replace")
        status, request_id = HTTPStatus(KINDS[code].status), request_id_of(scope["headers"])
        headers, body = self.app.refusal(code, path, request_id, scope["headers"], detail)
        head = b"".join(b"%b: %b\r\n" % header for header in ([*headers] if keeps else [*headers, CLOSE]))
        line = f"HTTP/1.1 {status} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + (b"" if scope["method"] == "HEAD" else body))
        if not keeps:
            self.transport.close()
        fields = {"method": scope["method"], "status": status, "request_id": request_id, "code": code}
        _log.info("request", extra={"fields": fields})
