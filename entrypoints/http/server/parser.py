"""The HTTP/1.1 parser: httptools, with limits."""

from typing import Any, Protocol

import httptools

from entrypoints.http.server.asgi import HeaderList
from entrypoints.http.server.heads import InvalidRequest, check_headers, split_target
from entrypoints.http.server.limits import ServerLimits

SLICE_BYTES = 8192
"""What httptools parses at a time, because it does not tell where in its input a request begins or ends."""
REQUEST_LINE_BYTES = 64
"""More than a request line has without its target."""


class RequestSink(Protocol):
    """Receives what is parsed. An exception ends the parsing and makes the request an invalid one."""

    def begin_request(self, parts: dict[str, Any], *, keep_alive: bool, expects_continue: bool) -> None:
        """Take a request whose head has arrived; `parts` are those of an ASGI scope."""

    def add_to_body(self, body: bytes) -> None:
        """Take a part of the body of the last request."""

    def complete_request(self) -> None:
        """Record that the last request is complete."""


class RequestParser:
    """Parses the requests of one connection, one after the other."""

    def __init__(self, sink: RequestSink, limits: ServerLimits) -> None:
        """Pass what is parsed to `sink`."""
        self.is_arriving = False
        """Whether a request has begun and is not complete."""
        self.is_in_head = False
        """Whether its head is not complete either."""
        self._sink = sink
        self._limits = limits
        self._parser = self._new_parser()
        self._url = b""
        self._headers: HeaderList = []
        self._counted = 0
        """How much of the head has arrived in former slices; once it is complete, of what frames the body."""
        self._countable = 0
        """How much of this slice belongs to that for certain."""
        self._is_slice_new = self._offers_upgrade = False

    def feed(self, data: bytes) -> None:
        """Parse what came. Raises InvalidRequest."""
        if len(data) <= SLICE_BYTES:
            self._feed(data)
        else:
            for start in range(0, len(data), SLICE_BYTES):
                self._feed(data[start : start + SLICE_BYTES])

    @property
    def held_bytes(self) -> int:
        """What has arrived of a head, less what came in one slice with the end of the request before."""
        return self._counted if self.is_in_head else 0

    def close(self) -> None:
        """Drop the references to the sink and to httptools' parser, which refer back to this object."""
        del self._sink, self._parser

    def _feed(self, data: bytes) -> None:
        self._is_slice_new, self._countable = not self.is_arriving, len(data)
        self._parse(data)
        if not self.is_arriving or self._countable <= 0:
            return
        self._counted += self._countable
        if self.is_in_head:
            if self._counted > len(self._url) + self._limits.header_bytes + REQUEST_LINE_BYTES:
                raise self._too_large("headers are")
        elif self._counted > self._limits.header_bytes:
            raise self._too_large("framing of the body is")

    def _parse(self, data: bytes) -> None:
        """Feed the parser. Offers of another protocol are ignored (RFC 9110, section 7.8).

        The parser takes what follows such a head for the next request, its body, too, which lets a client hide a
        request from a proxy. So the head is parsed again as if there had been no offer.
        """
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                method, version = self._parser.get_method(), self._parser.get_http_version().encode()
                headers = [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
                request = b"%b %b HTTP/%b" % (method, self._url, version)
                data = b"\r\n".join([request, *headers, b"", data[upgrade.args[0] :]])
                self._parser, self._url, self._headers = self._new_parser(), b"", []
            except httptools.HttpParserError as error:
                if isinstance(error.__context__, InvalidRequest):  # raised by a callback
                    raise error.__context__ from None
                raise InvalidRequest("Invalid HTTP request received.") from None

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # ignored, for the connection is closed
        return parser

    def _too_large(self, what: str) -> InvalidRequest:
        return InvalidRequest(f"The {what} larger than {self._limits.header_bytes} bytes.", "headers_too_large")

    def on_message_begin(self) -> None:
        """Begin to count."""
        if not self._is_slice_new:  # another request precedes it in this slice
            self._countable = 0
        self._is_slice_new = False
        self.is_in_head = self.is_arriving = True
        self._counted = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._url += url
        if len(self._url) > self._limits.target_bytes:
            raise InvalidRequest(f"The target is longer than {self._limits.target_bytes} bytes.", "uri_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are ignored, because a proxy that judged the head has not seen them."""
        if not self.is_in_head:
            return
        if len(self._headers) >= self._limits.headers:
            raise InvalidRequest(f"There are more than {self._limits.headers} headers.", "headers_too_large")
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        parser, method = self._parser, self._parser.get_method()
        if method == b"CONNECT":
            raise InvalidRequest("CONNECT is not supported.")
        if self._counted > self._limits.header_bytes - 2 * SLICE_BYTES and (
            sum(len(name) + len(value) + len(b": \r\n") for name, value in self._headers) > self._limits.header_bytes
        ):
            raise self._too_large("headers are")
        self._offers_upgrade = parser.should_upgrade()
        if self._offers_upgrade:
            return
        self.is_in_head = False
        self._counted = self._countable = 0
        (url, self._url), (headers, self._headers) = (self._url, b""), (self._headers, [])  # kept no longer than needed
        version = parser.get_http_version()
        expects_continue = check_headers(version, headers)
        path, query = split_target(method, url, headers)
        parts = {
            "http_version": version,
            "method": method.decode(),
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        }
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self._sink.begin_request(parts, keep_alive=keep_alive, expects_continue=expects_continue)

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        self._countable -= len(body)
        self._sink.add_to_body(body)

    def on_message_complete(self) -> None:
        """Report that the request is complete."""
        if not self._offers_upgrade:
            self.is_arriving = False
            self._sink.complete_request()
