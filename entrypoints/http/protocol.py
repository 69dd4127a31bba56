"""The HTTP/1.1 parser: uvicorn's, with bounds on the head of a request, and refusals in our own form.

It judges what never becomes a request: bytes that are no HTTP, and heads that never end.
"""

import asyncio
import logging
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from entrypoints.http.edge import CLOSE, request_id_of
from entrypoints.http.problems import KINDS

MAX_HEAD_BYTES = 2 * 1024 * 1024
"""Request line and headers. Nobody needs a token to send them, so nobody may make us keep any number; yet a token of a
megabyte shall hear from the guard that it is none."""
HEAD_SECONDS = 10.0
"""How long a head may take, and how long a new connection may say nothing."""
REFUSED_PAUSE_SECONDS = 1.0
"""How long a connection waits for its next turn after a request of it was refused: as long as that was told to wait."""
READ_SECONDS = 60.0
"""How long a client may take to read what it asked for, until we no longer keep it ready."""

_log = logging.getLogger("hextasks.request")


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _is_in_head = False
    _is_refused = False
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
        self._head_bytes, self._is_in_head, self._is_refused = 0, True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body has bounds of its own. Refuse at once what there is no room for.

        Here and not behind, because it costs a third: who has too much to do must not spend the time on saying so.
        """
        self._is_in_head = False
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
        path = self.url.decode("latin-1").partition("?")[0]
        is_first_in_line = getattr(self.cycle, "response_complete", True)  # there is none before the first
        if is_first_in_line and (code := self.app.admission.refusal(path)):
            self._is_refused = True
            keeps = self.parser.should_keep_alive() and not self.expect_100_continue and code != "shutting_down"
            self._refuse(code, path=path, keeps=keeps)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass over the body of a refused request."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Let a connection that was refused wait for its next turn.

        To refuse a client that asks again and again costs nearly as much as to serve another.
        """
        if not self._is_refused:
            super().on_message_complete()
        elif not self.transport.is_closing():
            self.flow.pause_reading()
            self.timeout_keep_alive_task = self.loop.call_later(REFUSED_PAUSE_SECONDS, self._take_next)

    def _take_next(self) -> None:
        if not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            self.flow.resume_reading()

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

    def _refuse(self, code: str, detail: str = "", *, path: str = "/", keeps: bool = False) -> None:
        """Answer with a problem, as everywhere else; unless it `keeps` the connection, that is the end of it."""
        if self.transport.is_closing():
            return
        status, request_headers = HTTPStatus(KINDS[code].status), self.headers or ()
        request_id = request_id_of(request_headers)
        headers, body = self.app.refusal(code, path, request_id, request_headers, detail)
        head = b"".join(b"%b: %b\r\n" % header for header in ([*headers] if keeps else [*headers, CLOSE]))
        line = f"HTTP/1.1 {status} {status.phrase}\r\n".encode()
        method = self.parser.get_method() if self._is_refused else b""
        self.transport.write(line + head + b"\r\n" + (b"" if method == b"HEAD" else body))
        if not keeps:
            self.transport.close()
        fields = {"method": method.decode(), "status": status, "request_id": request_id, "code": code}
        _log.info("request", extra={"fields": fields})
