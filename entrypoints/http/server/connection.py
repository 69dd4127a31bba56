"""The HTTP/1.1 parser: uvicorn's, with limits on its input, and rejections as problem details.

It rejects what is not a request, what never becomes a complete one, and what exceeds the capacity. Only complete
requests are admitted, so that a slow client takes no capacity from others.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from entrypoints.http.problems import KINDS
from entrypoints.http.server.admission import UNCOUNTED, Rejected
from entrypoints.http.server.exchange import SCOPE_KEY, Exchange, request_id_of
from entrypoints.http.server.layer import CLOSE, ExchangeLayer


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    app: ExchangeLayer
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
        self._limits = self.app.limits
        self.timeout_keep_alive = self._limits.keep_alive_seconds
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
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
        if self._framing_bytes > self._limits.head_bytes:
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
            if len(self.headers) >= self._limits.headers:
                raise ValueError("too many headers")  # which ends the parsing, and is a 400
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request wait for its body, or for the answers before it."""
        self._offers_upgrade = self.parser.should_upgrade()
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("this is no proxy")
        if self._offers_upgrade:
            return
        if len(self.pipeline) >= self._limits.pipelined:
            raise ValueError("too many requests without waiting")
        self._is_in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a body in up to its bound; beyond that it is the application's to refuse."""
        self._framing_bytes -= len(body)
        super().on_body(body)
        if self._waiting and self._active is self.cycle and len(self.cycle.body) > self._limits.body_bytes:
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
        elif cycle.more_body and len(cycle.body) <= self._limits.body_bytes:
            self._waiting = app
            if cycle.waiting_for_100_continue and cycle.scope["http_version"] == "1.1":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                cycle.waiting_for_100_continue = False
        else:
            exchange = Exchange.begin(cycle.scope, UNCOUNTED)
            try:
                exchange.slot = self.app.admission.admit(cycle.scope["raw_path"])
            except Rejected as rejected:
                cycle.keep_alive = cycle.keep_alive and rejected.code != "shutting_down"
                self._respond(exchange, rejected.code, scope=cycle.scope, keeps=cycle.keep_alive)
                # Repeated rejections cost capacity, so the next request of this connection is read later.
                self.flow.pause_reading()
                self.loop.call_later(self._limits.refused_pause_seconds, self._end_pause, cycle)
            else:
                cycle.scope[SCOPE_KEY] = exchange  # type: ignore[literal-required]
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
        self._read_timer = self.loop.call_later(self._limits.read_seconds, self.transport.abort)

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
        self._read_timer = self.loop.call_later(self._limits.read_seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse("validation_error", msg)

    def _is_idle(self) -> bool:
        """Tell whether every request so far has been answered."""
        return self._active is None or self._active.response_complete

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _time_arrival(self) -> None:
        self._arrival_timer = self.loop.call_later(self._limits.request_seconds, self._end_late_arrival)

    def _end_late_arrival(self) -> None:
        if self._is_idle() and not self._is_in_head:
            self.transport.close()  # the rest of what was refused already
        elif self._is_idle() or self._waiting:
            self._refuse("request_timeout", scope=self._active.scope if self._active and self._waiting else None)
        else:
            self._time_arrival()  # the one before it is still being answered

    def _refuse(self, code: str, detail: str = "", *, scope: Any = None) -> None:
        """Respond with a problem and close the connection.

        Input that is not a request, sent behind one in progress, ends the connection with the response to that one.
        """
        if self.transport.is_closing():
            return
        if scope is None and self._active and not self._is_idle() and not self._waiting:
            self._active.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()
            return
        if scope:
            exchange = Exchange.begin(scope, UNCOUNTED)
        else:
            exchange = Exchange(method=None, path="/", request_id=request_id_of(()), slot=UNCOUNTED)
        self._respond(exchange, code, detail, scope=scope)

    def _respond(
        self, exchange: Exchange, code: str, detail: str = "", *, scope: Any = None, keeps: bool = False
    ) -> None:
        """Write a problem; unless it `keeps` the connection, that is the end of it."""
        headers, body = self.app.problem(exchange, code, scope["headers"] if scope else (), detail)
        if not keeps and CLOSE not in headers:
            headers.append(CLOSE)
        status = HTTPStatus(KINDS[code].status)
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        line = f"HTTP/1.1 {status} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + (b"" if exchange.method == "HEAD" else body))
        if not keeps:
            self.transport.close()
        self.app.finish(exchange)
