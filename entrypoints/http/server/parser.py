"""The HTTP/1.1 parser: httptools, with limits."""

from typing import Any, Protocol

import httptools

from entrypoints.http.server.asgi import HeaderList
from entrypoints.http.server.limits import ServerLimits


class InvalidRequest(Exception):
    """The client sent something that is not a request, so nothing after it can be parsed. The text gives the reason."""


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
        self._framing_bytes = 0
        """How much of the request that is arriving was not its body."""
        self._is_new = self._expects_continue = self._offers_upgrade = False

    def feed(self, data: bytes) -> None:
        """Parse what came. Raises InvalidRequest."""
        self._parse(data)
        if not self.is_arriving:
            return
        if self._is_new:  # it is unknown how much of this belonged to the request before
            self._is_new, self._framing_bytes = False, 0
            return
        self._framing_bytes += len(data)
        if self._framing_bytes > self._limits.head_bytes:
            raise InvalidRequest("The headers are too large.")

    def close(self) -> None:
        """Drop the references to the sink and to httptools' parser, which refer back to this object."""
        del self._sink, self._parser

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
                self._parser = self._new_parser()
            except httptools.HttpParserError:
                raise InvalidRequest("Invalid HTTP request received.") from None

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # ignored, for the connection is closed
        return parser

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._is_new = self.is_in_head = self.is_arriving = True
        self._expects_continue = False
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are ignored, because a proxy that judged the head has not seen them."""
        if not self.is_in_head:
            return
        if len(self._headers) >= self._limits.headers:
            raise ValueError("too many headers")
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        parser = self._parser
        method, version = parser.get_method(), parser.get_http_version()
        self._offers_upgrade = parser.should_upgrade()
        if method == b"CONNECT":
            raise ValueError("CONNECT is not supported")
        if self._offers_upgrade:
            return
        self.is_in_head = False
        url = httptools.parse_url(self._url)
        parts = {
            "http_version": version,
            "method": method.decode(),
            "path": url.path.decode("ascii"),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self._headers,
        }
        self._sink.begin_request(
            parts,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects_continue=self._expects_continue and version == "1.1",
        )

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        self._framing_bytes -= len(body)
        self._sink.add_to_body(body)

    def on_message_complete(self) -> None:
        """Say that the request is complete."""
        if not self._offers_upgrade:
            self.is_arriving = False
            self._sink.complete_request()
