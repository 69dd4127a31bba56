"""TCP for tests: a free port, whether a server answers, and a connection to one that may be interrupted."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.patience import DEADLINE_SECONDS


def free_port() -> int:
    """Return a port from below those that the system lends to clients.

    Among those, a client that keeps asking for an unavailable server would one day be lent the server's own port.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def reset_when_closed(connection: socket.socket) -> None:
    """Let a connection be reset when it is closed, as by a client that vanishes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def connects(port: int) -> bool:
    """Return whether a server accepts connections."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS):
        return True
    return False


def answers(url: str) -> bool:
    """Return whether a server answers, with anything but an error of its own."""
    try:
        # Without TLS, for which each client loads all roots: 20 ms of processor time.
        return not httpx.get(url, timeout=DEADLINE_SECONDS, verify=False).is_server_error
    except httpx.TransportError:
        return False


class Wire:
    """A TCP proxy in front of a server. What it holds back it neither forwards nor refuses."""

    def __init__(self, to: str | tuple[str, int]) -> None:
        """Forward to a Unix socket, or to a host and port."""
        self.port = free_port()
        self.clients: set[asyncio.StreamWriter] = set()
        self.forwarded = 0
        """How many pieces were forwarded, in both directions."""
        self.cut_after: int | None = None
        """After how many pieces nothing more is forwarded."""
        self._to = to
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_closed = False
        self._pairs: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Wire"]:
        """Forward connections during the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            self._is_closed = True
            for pair in self._pairs:
                pair.cancel()
            await asyncio.gather(*self._pairs, return_exceptions=True)

    @property
    def is_cut(self) -> bool:
        """Whether everything is held back."""
        return not self._flows.is_set()

    def cut(self) -> None:
        """Hold everything back from now on, on old connections and new ones."""
        self._flows.clear()

    def restore(self, *, and_deliver: bool) -> None:
        """Forward again; what was sent on the old connections arrives late, or never, without an error.

        Never is what clients see of an address that has moved to another machine.
        """
        self.cut_after = None
        if not and_deliver:
            self._flows = asyncio.Event()
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:  # accepted at the last moment
            writer.close()
            return
        task = asyncio.current_task()
        assert task
        self._pairs.add(task)
        self.clients.add(writer)
        flows = self._flows
        try:
            await flows.wait()
            their_reader, their_writer = await (
                asyncio.open_unix_connection(self._to)
                if isinstance(self._to, str)
                else asyncio.open_connection(*self._to)
            )
            try:
                await asyncio.gather(
                    self._forward(reader, their_writer, flows), self._forward(their_reader, writer, flows)
                )
            finally:
                their_writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # the other end closes as well
        finally:
            writer.close()
            self._pairs.discard(task)
            self.clients.discard(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if self.forwarded == self.cut_after:
                self.cut()
            await flows.wait()
            self.forwarded += 1
            writer.write(data)
            await writer.drain()
        await flows.wait()
        writer.close()


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """Put a wire in front of a database; yields the URL that leads through it, too."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host")
    to = f"{folder[0]}/.s.PGSQL.5432" if folder else (parts.hostname or "127.0.0.1", parts.port or 5432)
    async with Wire(to).laid() as wire:
        yield wire, through(url, wire.port)


def through(url: str, *ports: int) -> str:
    """Return the URL of a database that is reached on any of these ports of this machine."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return parts._replace(netloc=f"{user}@{hosts}", query="").geturl()
