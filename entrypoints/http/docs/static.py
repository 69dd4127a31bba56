"""Responses that are the same for all: compressed once, shared, and not sent again to clients that have them."""

import gzip
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeAlias

from entrypoints.http.response import ReadyResponse, Send
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.output import SharedBytes

_VARY = (b"vary", b"Accept-Encoding")
_ACCEPTS_GZIP = re.compile(rb"(?:^|,)gzip(?:;q=(?!0(?:\.0*)?(?:,|$))[0-9.]+)?(?:,|$)", re.IGNORECASE)
"""In the elements of Accept-Encoding without white space: gzip, with any weight but zero."""

_Variant: TypeAlias = tuple[bytes, ReadyResponse]
"""An entity tag, and the response that it belongs to."""


class StaticResponse:
    """A body as it is and compressed with gzip, each with a strong entity tag of its own."""

    __slots__ = ("_body", "_headers", "_variants")

    def __init__(self, body: bytes | Callable[[], bytes], *headers: tuple[bytes, bytes]) -> None:
        """Take the body, or a function that makes it."""
        self._body = body
        self._headers = headers
        self._variants: tuple[_Variant, _Variant] | None = None

    def variants(self) -> tuple[_Variant, _Variant]:
        """Return the body as it is and compressed, which are made once; a megabyte takes a tenth of a second."""
        if self._variants is None:
            body = self._body if isinstance(self._body, bytes) else self._body()
            compressed = self._variant(gzip.compress(body, 6, mtime=0), (b"content-encoding", b"gzip"))
            self._variants = self._variant(body), compressed
        return self._variants

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Send the variant that the client accepts, or 304 if it has that one."""
        accepted = _elements(scope, b"accept-encoding").translate(None, b" \t")
        plain, compressed = self.variants()
        tag, response = compressed if _ACCEPTS_GZIP.search(accepted) else plain
        seen = _elements(scope, b"if-none-match")
        if tag in seen or seen.strip() == b"*":  # a tag is quoted, so that it is part of no other
            response = ReadyResponse.empty(304, (b"etag", tag), *self._headers)
        # Not among the response's own headers, where Litestar's CORS middleware replaces it.
        Exchange.of(scope).headers.append(_VARY)
        await response(scope, receive, send)

    def _variant(self, body: bytes, *headers: tuple[bytes, bytes]) -> _Variant:
        tag = b'"%b"' % sha256(body).hexdigest()[:32].encode()
        return tag, ReadyResponse(200, SharedBytes(body), (b"etag", tag), *self._headers, *headers)


def _elements(scope: Any, wanted: bytes) -> bytes:
    """Return the elements of all headers of a name."""
    return b",".join(value for name, value in scope["headers"] if name == wanted)
