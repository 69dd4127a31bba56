"""The sending side of a connection: a client that does not read its responses costs little memory."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable

from entrypoints.http.server.admission import Admission

PIECE_BYTES = 65_536
SHARED_FROM = 8
"""Requests in progress. With fewer, one more iteration of the event loop takes longer than it saves."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero."""


class SharedBytes(bytes):
    """A body that many responses have in common, so that its memory is none of theirs."""


class WriteBatch:
    """The outputs whose responses one iteration of the event loop has made, and the next one writes.

    A process that reads many of them, a proxy or a client, is then woken once for all: to wake it for each one takes a
    fifth of the processor time of a small response.
    """

    def __init__(self, admission: Admission) -> None:
        """Write responses at once while few requests are in progress."""
        self._admission = admission
        self._outputs: deque[Output] = deque()

    @property
    def is_open(self) -> bool:
        """Whether a response that is complete now waits for others."""
        return bool(self._outputs) or self._admission.in_progress >= SHARED_FROM

    def add(self, output: "Output") -> None:
        """Flush an output with the others."""
        if not self._outputs:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outputs.append(output)

    def _flush(self) -> None:
        try:
            while self._outputs:
                self._outputs.popleft().flush()
        finally:
            if self._outputs:  # one could not be written
                asyncio.get_running_loop().call_soon(self._flush)


class Output:
    """Writes large responses in pieces, each when the client has read the one before, and small ones in batches."""

    __slots__ = ("_batch", "_body", "_end_response", "_rest", "_resumed", "_transport", "_waiting", "is_paused")

    def __init__(self, transport: asyncio.Transport, end_response: Callable[[], None], batch: WriteBatch) -> None:
        """Call `end_response` whenever the rest of a large response is written."""
        self.is_paused = False
        """Whether the client has not read what was written."""
        self._transport = transport
        self._end_response = end_response
        self._batch = batch
        self._waiting = b""
        """What waits for the batch."""
        self._discard()
        self._resumed: asyncio.Event | None = None

    def write(self, data: bytes) -> None:
        """Write at once."""
        self.flush()
        self._transport.write(data)

    def write_last(self, data: bytes) -> None:
        """Write the end of a response, at the latest in the next iteration of the event loop."""
        if not self._batch.is_open:
            self.write(data)
            return
        if not self._waiting:
            self._batch.add(self)
        self._waiting += data

    def flush(self) -> None:
        """Write what waits for its batch."""
        if self._waiting:
            data, self._waiting = self._waiting, b""
            if not self._transport.is_closing():
                self._transport.write(data)

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
        self.write(head)
        self._write_rest()

    def end(self) -> None:
        """Close the connection when the client has read what was written."""
        self.flush()
        self._transport.close()

    def evict(self, *, is_unread: bool) -> None:
        """Close the connection at once, so that neither this process nor the system keeps what was not read."""
        self.flush()
        if is_unread or self._transport.get_write_buffer_size():
            self._discard()
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def close(self) -> None:
        """Keep nothing, and refer to the connection no more, once it is lost."""
        self._waiting = b""
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
