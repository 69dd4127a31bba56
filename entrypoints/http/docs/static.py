"""Responses that are the same for all: compressed once, shared, and not sent again to clients that have them."""

import gzip
import re
from hashlib import sha256
from typing import Any

from entrypoints.http.response import ReadyResponse, Send
from entrypoints.http.server.exchange import Exchange

_VARY = (b"vary", b"Accept-Encoding")
_ACCEPTS_GZIP = re.compile(rb"(?:^|,)gzip(?:;q=(?!0(?:\.0*)?(?:,|$))[0-9.]+)?(?:,|$)", re.IGNORECASE)
"""In the elements of Accept-Encoding without white space: gzip, with any weight but zero."""


class StaticResponse:
    """A body as it is and compressed with gzip, each with a strong entity tag of its own."""

    __slots__ = ("_compressed", "_headers", "_plain")

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Compress the body; a megabyte takes a tenth of a second."""
        self._headers = headers
        self._plain = self._variant(body)
        self._compressed = self._variant(gzip.compress(body, 6, mtime=0), (b"content-encoding", b"gzip"))

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Send the variant that the client accepts, or 304 if it has that one."""
        accepted = _elements(scope, b"accept-encoding").translate(None, b" \t")
        tag, response = self._compressed if _ACCEPTS_GZIP.search(accepted) else self._plain
        seen = _elements(scope, b"if-none-match")
        if tag in seen or seen.strip() == b"*":  # a tag is quoted, so that it is part of no other
            response = ReadyResponse.empty(304, (b"etag", tag), *self._headers)
        # Not among the response's own headers, where Litestar's CORS middleware replaces it.
        Exchange.of(scope).headers.append(_VARY)
        await response(scope, receive, send)

    def _variant(self, body: bytes, *headers: tuple[bytes, bytes]) -> tuple[bytes, ReadyResponse]:
        tag = b'"%b"' % sha256(body).hexdigest()[:32].encode()
        return tag, ReadyResponse(200, body, (b"etag", tag), *self._headers, *headers)


def _elements(scope: Any, wanted: bytes) -> bytes:
    """Return the elements of all headers of a name."""
    return b",".join(value for name, value in scope["headers"] if name == wanted)
