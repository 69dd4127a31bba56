"""A proxy that loses requests and responses, or answers by itself, as it is told."""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

Fault: TypeAlias = Literal["forward", "lose request", "lose response", "silence"] | int | bytes
"""What happens to a request; a number of bytes after which its response is cut off; or a response instead."""


def response(status: int, *headers: str, body: bytes = b"<h1>Not the service</h1>") -> bytes:
    """Return a response of a proxy."""
    lines = [f"HTTP/1.1 {status} Status", "Content-Type: text/html", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def events_response(body: str) -> bytes:
    """Return a stream of events that ends at once."""
    return response(200, body=body.encode(errors="surrogateescape")).replace(b"text/html", b"text/event-stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that arrived."""

    at: float
    head: str

    def header(self, name: str) -> str:
        """Return the value of a header, or an empty string."""
        found = re.search(rf"^{name}: (.*?)\r$", self.head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else ""


class Unsteady:
    """Forwards each request over a connection of its own, except for those that `faults` are meant for, in order."""

    def __init__(self, url: str) -> None:
        self.faults: deque[Fault] = deque()
        self.requests: list[Request] = []
        self.url = ""
        self._to = urlsplit(url)
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Unsteady"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)  # the event loop keeps no reference
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request := Request(at=time.monotonic(), head=head.decode()))
            body = await reader.readexactly(int(request.header("Content-Length") or 0))
            fault = self.faults.popleft() if self.faults else "forward"
            if isinstance(fault, bytes):
                writer.write(fault.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                await writer.drain()
            elif fault == "silence":
                await reader.read()  # until the client gives up
            elif fault != "lose request":
                head = re.sub(rb"(?im)^connection: .*\r\n", b"", head)
                await self._forward(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body, writer, fault)
        except (OSError, EOFError):
            pass  # the client closes as well
        finally:
            writer.close()

    async def _forward(self, request: bytes, writer: asyncio.StreamWriter, fault: Fault) -> None:
        reader, upstream = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            upstream.write(request)
            left = fault if isinstance(fault, int) else None
            while left != 0 and (part := await reader.read(65_536)):
                if left is not None:
                    part = part[:left]
                    left -= len(part)
                if fault != "lose response":
                    writer.write(part)
                    await writer.drain()
        finally:
            upstream.close()
