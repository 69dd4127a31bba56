"""Hostile requests leave nothing behind: the memory of a real server process, before and after thousands of them."""

import itertools
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cli.processes import Served, resident_bytes, serving
from tests.databases import Server, migrated
from tests.patience import DEADLINE_SECONDS

MEGABYTE = 1_000_000
ENOUGH = 8 * MEGABYTE
"""How much of each kind is sent: if it was all kept, that would be seen."""
MANY = 1_000
HEAD = b"Host: x\r\n"
CHUNKED = b"POST /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = re.compile(rb"HTTP/1.1 \d+.*?content-length: (\d+).*?\r\n\r\n", re.DOTALL)
numbers = itertools.count()
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def unlike(size: int) -> bytes:
    """Return text of a size that is new each time."""
    return b"%d" % next(numbers) + b"x" * size


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n" % path + HEAD + b"".join(b"%b\r\n" % header for header in headers) + b"\r\n"


def kinds(token: bytes) -> dict[str, Callable[[], bytes]]:
    """Return requests that are answered, by kind; each is new."""
    tasks = b"/api/ada/tasks"
    return {
        "a path of a task": lambda: get(b"/api/%b/tasks/%b" % (unlike(4_000), unlike(4_000))),
        "a path of percent signs": lambda: get(b"/api/%b%b/tasks" % (unlike(0), b"%" * 8_000)),
        "an asset": lambda: get(b"/docs/assets/" + unlike(8_000)),
        "an unknown path": lambda: get(b"/" + unlike(8_000)),
        "a long header": lambda: get(b"/health/live", b"X: " + unlike(32_000)),
        "many headers": lambda: get(b"/health/live", *(b"X: " + unlike(300) for _ in range(98))),
        "a long token": lambda: get(tasks, b"Authorization: Bearer " + unlike(32_000)),
        "a query of wide letters": lambda: get(tasks + b"?cursor=%F0%9F%98%80" + unlike(8_000), token),
        "a query of separators": lambda: get(tasks + b"?limit=1" + b"&" * 8_000 + unlike(0), token),
        "a short query": lambda: get(tasks + b"?limit=0&cursor=" + unlike(50), token).replace(
            b": x", b": " + unlike(200)
        ),
        "entity tags": lambda: get(tasks + b"/" + unlike(8), token, b"If-None-Match: " + b'"",' * 8_000),
        "chunk extensions": lambda: CHUNKED + b"1;%b\r\nx\r\n0\r\n\r\n" % unlike(30_000),
        "trailers": lambda: CHUNKED + b"0\r\nX: %b\r\n\r\n" % unlike(30_000),
    }


def bad(token: bytes) -> dict[str, bytes]:
    """Return what ends the connection."""
    return {
        "a longer path": b"GET /" + b"%" * 200_000,
        "longer chunk extensions": CHUNKED + b"1;" + b"x" * 200_000,
    }


def connect(served: Served) -> socket.socket:
    url = urlsplit(served.address)
    return socket.create_connection((url.hostname, url.port), timeout=DEADLINE_SECONDS)


def answered(connection: socket.socket, requests: list[bytes]) -> None:
    """Send requests, eight at a time, until they are answered."""
    for start in range(0, len(requests), 8):
        batch = requests[start : start + 8]
        connection.sendall(b"".join(batch))
        received = b""
        for _ in batch:
            while not (head := RESPONSE.match(received)) or len(received) < head.end() + int(head[1]):
                more = connection.recv(65_536)
                assert more, received
                received += more
            received = received[head.end() + int(head[1]) :]


def attack(served: Served, size: int) -> Iterator[str]:
    """Send `size` bytes of each kind, but not more than many requests; yields the kind after each."""
    token = f"Authorization: {served.headers['Authorization']}".encode()
    for name, make in kinds(token).items():
        with connect(served) as connection:
            answered(connection, [make() for _ in range(min(MANY, size // len(make())))])
        yield name
    for name, sent in bad(token).items():
        for _ in range(size // len(sent)):
            with connect(served) as connection, suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(sent)
                connection.recv(65_536)
        yield name


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), DATABASE_URL="memory://") as served:
        for _ in attack(served, MEGABYTE // 4):
            pass
        yield served


def test_requests_of_every_kind_leave_nothing_behind(served: Served) -> None:
    before, grown = resident_bytes(served.process.pid), {}
    for name in attack(served, ENOUGH):
        grown[name] = (resident_bytes(served.process.pid) - before) // 1000
    assert resident_bytes(served.process.pid) - before < 5 * MEGABYTE, grown


def test_idle_connections_that_sent_large_heads_keep_little(served: Served) -> None:
    before = resident_bytes(served.process.pid)
    with ExitStack() as connections:
        for _ in range(200):
            connection = connections.enter_context(connect(served))
            answered(connection, [get(b"/health/live?" + unlike(8_000), b"X: " + unlike(32_000))])
        assert resident_bytes(served.process.pid) - before < 10 * MEGABYTE


def test_unfinished_heads_keep_little_more_than_their_bytes(served: Served) -> None:
    before = resident_bytes(served.process.pid)
    with ExitStack() as connections:
        for _ in range(200):
            connection = connections.enter_context(connect(served))
            connection.sendall(get(b"/health/live?" + unlike(8_000), b"X: " + unlike(32_000))[:-2])
        answered(connections.enter_context(connect(served)), [get(b"/health/live")])
        assert resident_bytes(served.process.pid) - before < 200 * 60_000


@pytest.fixture
async def url(server: Server) -> str:
    return await migrated(server)


@pytest.mark.database
def test_streams_that_are_not_read_keep_little(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, DATABASE_URL=url, MAX_STREAMS_PER_USER="100") as served:
        wide = {"op": "create", "title": "\N{GRINNING FACE}" * 500}
        batch = httpx.post(
            f"{served.address}/api/ada/tasks/batch",
            headers=served.headers,
            json={"operations": [wide] * 100},
            verify=False,
        )
        assert batch.status_code == 200
        token = f"Authorization: {served.headers['Authorization']}".encode()
        before = resident_bytes(served.process.pid)
        with ExitStack() as connections:
            for _ in range(40):
                connection = connections.enter_context(connect(served))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(get(b"/api/ada/tasks/events?since=000000000000-0", token))
                assert connection.recv(12) == b"HTTP/1.1 200"
            time.sleep(1)  # for the streams to write what fits
            assert resident_bytes(served.process.pid) - before < 40 * 300_000
