"""ASGI, as far as the server needs it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]
"""Names in lower case."""

CLOSE = (b"connection", b"close")


def connection_scope(transport: asyncio.Transport) -> Scope:
    """Return what the scopes of all requests on a TCP connection have in common."""
    server, client = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "scheme": "http",
        "root_path": "",
        "server": server and server[:2],
        "client": client and client[:2],
    }
