"""The sending side of a connection: a client that does not read its responses costs little memory."""

import asyncio
import socket
import struct
from collections.abc import Callable

PIECE_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero."""


class SharedBytes(bytes):
    """A body that many responses have in common, so that its memory is none of theirs."""


class Output:
    """Writes large responses in pieces, each when the client has read the one before."""

    __slots__ = ("_body", "_end_response", "_rest", "_resumed", "_transport", "is_paused")

    def __init__(self, transport: asyncio.Transport, end_response: Callable[[], None]) -> None:
        """Call `end_response` whenever the rest of a large response is written."""
        self.is_paused = False
        """Whether the client has not read what was written."""
        self._transport = transport
        self._end_response = end_response
        self._discard()
        self._resumed: asyncio.Event | None = None

    async def drain(self) -> None:
        """Wait while the output is paused."""
        if self.is_paused:
            self._resumed = self._resumed or asyncio.Event()
            await self._resumed.wait()

    def resume(self) -> None:
        """Go on: the client has read, or has disconnected."""
        self.is_paused = False
        if self._resumed:
            self._resumed.set()
            self._resumed = None
        if self._rest:
            self._write_rest()

    @property
    def held_bytes(self) -> int:
        """The body of a large response, all of which is kept until its last piece is written."""
        return 0 if isinstance(self._body, SharedBytes) else len(self._body)

    def write_large(self, head: bytes, body: bytes) -> None:
        """Begin to write a large response."""
        self._body, self._rest = body, memoryview(body)
        self._transport.write(head)
        self._write_rest()

    def reset(self) -> None:
        """Abort the connection so that neither this process nor the system keeps what was not read."""
        self._discard()
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def close(self) -> None:
        """Keep nothing, and refer to the connection no more, once it is lost."""
        self._discard()
        self.resume()
        del self._end_response

    def _discard(self) -> None:
        self._body, self._rest = b"", memoryview(b"")

    def _write_rest(self) -> None:
        while self._rest and not self.is_paused and not self._transport.is_closing():
            piece, self._rest = self._rest[:PIECE_BYTES], self._rest[PIECE_BYTES:]
            self._transport.write(piece if self._rest else bytes(piece))  # a view would keep the whole body
        if not self._rest:
            self._discard()
            self._end_response()
