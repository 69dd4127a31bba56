"""The HTTP/1.1 parser: uvicorn's, with bounds on what it takes in, and refusals in our own form.

It judges what is no request, what never becomes a whole one, and what there is no room for. Only whole requests come
in, so that nobody who dawdles takes the room of others.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from entrypoints.http.api.bodies import MAX_BODY_BYTES
from entrypoints.http.problems import KINDS
from entrypoints.http.server.exchange import CLOSE, request_id_of

MAX_HEAD_BYTES = 2 * 1024 * 1024
"""Request line and headers, and all that frames a body. Nobody needs a token to send them, so nobody may make us keep
any number; yet a token of a megabyte shall hear from the guard that it is none."""
MAX_HEADERS = 100
MAX_PIPELINED = 16
"""Requests that a connection may send without waiting for their answers."""
MAX_CONNECTIONS = 10_000
"""At once, to each process; one more is closed."""
REFUSED_PAUSE_SECONDS = 2.0
"""How long a connection waits for its next turn after a request of it was refused: as long as that was told to wait."""
READ_SECONDS = 60.0
"""How long a client may take to read what it asked for, until we no longer keep it ready."""

_log = logging.getLogger("hextasks.request")


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _framing_bytes = 0
    _is_new = _is_in_head = _is_arriving = False
    _offers_upgrade = False
    """Whether the head just read is to be read again, without its offer to go on in another protocol."""
    _active: RequestResponseCycle | None = None
    """The request that is being answered, or was answered last."""
    _waiting: Any = None
    """The application, while the next request is not whole yet, or the answer before it is not read."""
    _arrival_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()
        self._keep_alive()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._arrival_timer, self._read_timer, self.timeout_keep_alive_task):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on a head that grows too long."""
        self._unset_keepalive_if_required()
        self._parse(data)
        if self.transport.is_closing():
            return
        if not self._is_arriving:
            if self._is_idle() and not self.timeout_keep_alive_task:
                self._keep_alive()
            return
        if not self._arrival_timer:
            self._time_arrival()
        if self._is_new:  # nobody knows how much of this was of the request before
            self._is_new, self._framing_bytes = False, 0
            return
        self._framing_bytes += len(data)
        if self._framing_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The headers are too large.")

    def _parse(self, data: bytes) -> None:
        """Feed the parser. Offers of another protocol are passed over (RFC 9110, section 7.8).

        The parser takes what follows such a head for the next request, its body, too, which lets a client hide a
        request from a proxy. So it reads the head again as if there had been no offer.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                request = b"%b %b HTTP/%b" % (
                    self.parser.get_method(),
                    self.url,
                    self.parser.get_http_version().encode(),
                )
                headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
                data = b"\r\n".join([request, *headers, b"", data[upgrade.args[0] :]])
                self.parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._is_new = self._is_in_head = self._is_arriving = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are passed over: whoever judged the head before us has not seen them."""
        if self._is_in_head:
            if len(self.headers) >= MAX_HEADERS:
                raise ValueError("too many headers")  # which ends the parsing, and is a 400
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request wait for its body, or for the answers before it."""
        self._offers_upgrade = self.parser.should_upgrade()
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("this is no proxy")
        if self._offers_upgrade:
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests without waiting")
        self._is_in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a body in up to its bound; beyond that it is the application's to refuse."""
        self._framing_bytes -= len(body)
        super().on_body(body)
        if self._waiting and self._active is self.cycle and len(self.cycle.body) > MAX_BODY_BYTES:
            self._start_asgi_task(self.cycle, self._waiting)

    def on_message_complete(self) -> None:
        """Let the whole request in."""
        if self._offers_upgrade:
            return
        self._is_arriving = False
        if self._arrival_timer:
            self._arrival_timer.cancel()
            self._arrival_timer = None
        super().on_message_complete()
        if self._waiting and self._active is self.cycle:
            self._start_asgi_task(self.cycle, self._waiting)

    def on_response_complete(self) -> None:
        """Go on with the next request; take no more in while there are others in line."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Call the application, unless the request has not come whole, or there is no room for it.

        Asked here and not behind: who has too much to do must not spend the time on saying so.
        """
        self._active, self._waiting = cycle, None
        if self.flow.write_paused:  # who does not read the answers takes no room
            self._waiting = app
            self.flow.pause_reading()
        elif cycle.more_body and len(cycle.body) <= MAX_BODY_BYTES:
            self._waiting = app
            if cycle.waiting_for_100_continue and cycle.scope["http_version"] == "1.1":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                cycle.waiting_for_100_continue = False
        elif code := self.app.admission.admit(cycle.scope["raw_path"]):
            cycle.keep_alive = cycle.keep_alive and code != "shutting_down"
            self._refuse(code, scope=cycle.scope, keeps=cycle.keep_alive)
            # The next turn of this connection comes later: to refuse who asks again and again takes from the others.
            self.flow.pause_reading()
            self.loop.call_later(REFUSED_PAUSE_SECONDS, self._end_pause, cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _end_pause(self, refused: RequestResponseCycle) -> None:
        refused.response_complete = True
        if refused.keep_alive:
            self.on_response_complete()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Give a client that does not read its answer time to do so."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._read_timer:
            self._read_timer.cancel()
        if self._waiting and self._active:
            self._start_asgi_task(self._active, self._waiting)

    def timeout_keep_alive_handler(self) -> None:
        """Close, be what was written last read or not."""
        super().timeout_keep_alive_handler()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse("validation_error", msg)

    def _is_idle(self) -> bool:
        """Tell whether every request so far has been answered."""
        return self._active is None or self._active.response_complete

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _time_arrival(self) -> None:
        self._arrival_timer = self.loop.call_later(self.app.timeout, self._end_late_arrival)

    def _end_late_arrival(self) -> None:
        if self._is_idle() and not self._is_in_head:
            self.transport.close()  # the rest of what was refused already
        elif self._is_idle() or self._waiting:
            self._refuse("request_timeout", scope=self._active.scope if self._active and self._waiting else None)
        else:
            self._time_arrival()  # the one before it is still being answered

    def _refuse(self, code: str, detail: str = "", *, scope: Any = None, keeps: bool = False) -> None:
        """Answer with a problem, as everywhere else; unless it `keeps` the connection, that is the end of it.

        What is no request, sent behind one that is still being answered, ends the connection with that answer.
        """
        if self.transport.is_closing():
            return
        if scope is None and self._active and not self._is_idle() and not self._waiting:
            self._active.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()
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
