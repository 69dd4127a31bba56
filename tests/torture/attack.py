"""Hostile clients, in a process of their own: `python -m tests.torture.attack '{"address": …}'`.

Each kind sends what an attacker would, at a rate that one machine can offer beside the service. Prints how many times
each did it.
"""

import asyncio
import random
import resource
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from subprocess import PIPE
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import uvloop

from adapters.tokens import issue_token
from tests.torture.client import SECRET, Client

HEAD_BYTES = 2 * 1024 * 1024
PAUSE_SECONDS = 0.05
HOLD_SECONDS = 5.0
SCRIPT = b"GET /docs/assets/swagger.js HTTP/1.1\r\nHost: x\r\n\r\n"


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """What to attack, and for how long."""

    address: str
    seconds: float
    connections: int
    """Those that stay open, of each kind that holds some."""


async def attacked(order: Order) -> dict[str, int]:
    """Attack from a process of its own; return how many times each kind of client did what it does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.torture.attack", msgspec.json.encode(order).decode(), stdout=PIPE
    )
    stdout, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(stdout, type=dict[str, int])


class Attack:
    """The hostile clients inside that process."""

    def __init__(self, order: Order) -> None:
        self._order = order
        url = urlsplit(order.address)
        self._place = (str(url.hostname), url.port or 80)
        self._counts: Counter[str] = Counter()
        self._token = f"Authorization: Bearer {issue_token(SECRET, 'hostile')}\r\n"

    async def run(self) -> Counter[str]:
        """Attack in all ways at once."""
        client = Client(self._order.address, "hostile")
        made = await client.ask("POST", "", {"title": "Buy milk"})
        task = f"/api/hostile/tasks/{made.json()['id']}"
        client.close()
        half = "POST /api/hostile/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n"
        held = {
            "silent connections": b"",
            "half heads": b"GET /health/live HTTP/1.1\r\nHost:",
            "half bodies": f'{half}{self._token}\r\n{{"title": "half'.encode(),
        }
        ways = [self._hold(kind, sent) for kind, sent in held.items() for _ in range(self._order.connections)]
        ways += [self._read_nothing() for _ in range(self._order.connections)]
        ways += [self._send_large_heads() for _ in range(3)]
        ways += [self._ask("query strings", self._query_string) for _ in range(2)]
        ways += [self._ask("entity tags", lambda: self._entity_tags(task)) for _ in range(2)]
        ways += [self._ask("entity tags", lambda: self._entity_tags("/docs")) for _ in range(2)]
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.sleep(self._order.seconds)
        for each in tasks:
            each.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
        return self._counts

    async def _connect(self) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, self._place)
        return connection

    async def _hold(self, kind: str, sent: bytes) -> None:
        """Send a part of a request, or nothing, and wait until the service closes the connection."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError), await self._connect() as connection:
                self._counts[kind] += 1
                await loop.sock_sendall(connection, sent)
                while await loop.sock_recv(connection, 65_536):
                    pass
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read_nothing(self) -> None:
        """Request much at different times: what many requests at one time do is the subject of the overload."""
        await asyncio.sleep(random.uniform(0, HOLD_SECONDS / 2))
        while True:
            with suppress(OSError), await self._connect() as connection:
                self._counts["unread responses"] += 4
                await asyncio.get_running_loop().sock_sendall(connection, SCRIPT * 4)
                await asyncio.sleep(HOLD_SECONDS * random.uniform(0.5, 1.5))

    async def _send_large_heads(self) -> None:
        head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEAD_BYTES
        while True:
            with suppress(OSError), await self._connect() as connection:
                self._counts["large heads"] += 1
                await asyncio.get_running_loop().sock_sendall(connection, head)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, kind: str, request: Callable[[], str]) -> None:
        """Send whole requests, each different, over one connection as long as that stays open."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError), await self._connect() as connection:
                while True:
                    self._counts[kind] += 1
                    await loop.sock_sendall(connection, request().encode())
                    if not await loop.sock_recv(connection, 1 << 20):
                        break
                    await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    def _query_string(self) -> str:
        query = "&".join(f"{uuid4().hex}=%25" for _ in range(190))
        return f"GET /api/hostile/tasks?{query} HTTP/1.1\r\nHost: x\r\n{self._token}\r\n"

    def _entity_tags(self, path: str) -> str:
        tags = ",".join(['""'] * 10_000)
        return f"GET {path} HTTP/1.1\r\nHost: x\r\n{self._token}If-None-Match: {tags}\r\n\r\n"


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(msgspec.json.encode(uvloop.run(Attack(msgspec.json.decode(sys.argv[1], type=Order)).run())).decode())


if __name__ == "__main__":
    main()
