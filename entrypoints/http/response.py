"""A response that is ready to be sent, so that Litestar has no work with it."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

JSON = (b"content-type", b"application/json")
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_encode = msgspec.json.Encoder().encode


class ReadyResponse:
    """Status, headers and body as they go to the client. It is an ASGI application, as Litestar requires."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Take the body as it is; its length is added to the headers."""
        self.status = status
        self.body = body
        self.headers: Iterable[tuple[bytes, bytes]] = ((b"content-length", b"%d" % len(body)), *headers)

    @classmethod
    def json(cls, status: int, content: msgspec.Struct, *headers: tuple[bytes, bytes]) -> "ReadyResponse":
        """Encode the body."""
        return cls(status, _encode(content), JSON, *headers)

    @classmethod
    def empty(cls, status: int, *headers: tuple[bytes, bytes]) -> "ReadyResponse":
        """Return a response that by its status has no body and no length (RFC 9110, section 8.6)."""
        response = cls(status, b"")
        response.headers = headers
        return response

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:  # noqa: ARG002
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})
