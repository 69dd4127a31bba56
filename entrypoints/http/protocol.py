"""The HTTP/1.1 parser: uvicorn's, with a bound on the head of a request, and refusals in our own form.

It judges what never becomes a request: bytes that are no HTTP, and heads that never end.
"""

import logging
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from entrypoints.http.edge import SECURITY_HEADERS
from entrypoints.http.problems import PROBLEM_MEDIA_TYPE, encoded_problem

MAX_HEAD_BYTES = 2 * 1024 * 1024
"""Request line and headers. Nobody needs a token to send them, so nobody may make us keep any number; yet a token of a
megabyte shall hear from the guard that it is none."""

_log = logging.getLogger("hextasks.request")


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _is_in_head = False

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on a head that grows too long."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head_bytes, self._is_in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body has a bound of its own."""
        self._is_in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse with a problem, as everywhere else, and close the connection."""
        if self.transport.is_closing():
            return
        request_id = str(uuid4())
        body = encoded_problem("validation_error", msg, instance="/", request_id=request_id)
        headers = {
            "content-type": PROBLEM_MEDIA_TYPE,
            "content-length": len(body),
            "x-request-id": request_id,
            "connection": "close",
            **{name.decode(): value.decode() for name, value in SECURITY_HEADERS},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode() + body)
        self.transport.close()
        _log.info("request", extra={"fields": {"status": 400, "request_id": request_id, "code": "validation_error"}})
