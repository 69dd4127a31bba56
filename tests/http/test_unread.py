"""Clients that do not read their responses, or slowly: they cost little memory, and others nothing."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http.wire import connected, made, one, received_until_end
from tests.patience import eventually
from tests.services import Client, Service, running_service

pytestmark = pytest.mark.waits

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
SCRIPT = b"GET /docs/assets/swagger.js HTTP/1.1\r\nHost: x\r\n\r\n"
SCRIPT_BYTES = PAGE_BYTES = 1_000_000
"""Less than each has."""


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    """A service that waits half a second for a client to read."""
    with running_service(limits={"read_seconds": 0.5}, DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture(scope="module")
def small() -> Iterator[Service]:
    """A service that keeps two and a half megabytes for clients that do not read."""
    with running_service(limits={"unread_bytes": 2_500_000}, DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture(scope="module")
def page(small: Service) -> bytes:
    """A request for more than a megabyte."""
    with small.client() as ada:
        operations = [{"op": "create", "title": "\U0001f600" * 500}] * 100
        for _ in range(5):
            assert ada.post(f"{ada.tasks}/batch", json={"operations": operations}).status_code == 200
        return get(ada, f"{ada.tasks}?limit=500")


def get(client: Client, target: str, *headers: str) -> bytes:
    lines = f"GET {target} HTTP/1.1", "Host: x", f"Authorization: {client.headers['authorization']}", *headers
    return "\r\n".join((*lines, "", "")).encode()


@contextmanager
def unread(service: Service, request: bytes) -> Iterator[socket.socket]:
    """Send something, and read no more of what comes than its beginning."""
    with connected(service) as connection:
        connection.sendall(request)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        with connected(service) as other:  # answered when the service has written what it can
            other.sendall(LIVE)
            assert other.recv(15) == b"HTTP/1.1 200 OK"
        yield connection


def is_readable(connection: socket.socket, size: int) -> bool:
    """Return whether so many bytes arrive before the connection ends."""
    while size and (more := connection.recv(min(size, 1 << 20))):
        size -= len(more)
    return not size


def received_until_reset(connection: socket.socket) -> int:
    """Read until the connection is reset, and not merely closed; return the number of bytes."""
    received, is_reset = received_until_end(connection)
    assert is_reset, "it was closed"
    return received


def test_the_connection_is_reset(impatient: Service) -> None:
    with connected(impatient) as connection:
        connection.sendall(SCRIPT * 10)
        time.sleep(2)
        assert 0 < received_until_reset(connection) < 1_000_000


def test_each_piece_that_was_read_gives_new_time(impatient: Service) -> None:
    with unread(impatient, SCRIPT) as connection:
        for _ in range(10):
            time.sleep(0.1)
            assert is_readable(connection, SCRIPT_BYTES // 10)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; no other system has the time limit")
def test_the_system_keeps_no_response_of_a_closed_connection(impatient: Service) -> None:
    with impatient.client() as ada, connected(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        task = one(ada, made(ada, "x" * 500))
        connection.sendall(get(ada, task) * 10 + get(ada, task, "Connection: close"))
        port = connection.getsockname()[1]
        eventually(lambda: not kept_by_the_system(impatient, port))


def kept_by_the_system(service: Service, port: int) -> bool:
    """Return whether the service's end of a connection still exists, whichever process owns it."""
    ends = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text().splitlines()]
    here, there = (f":{number:04X}" for number in (urlsplit(service.url).port or 0, port))
    return any(local.endswith(here) and remote.endswith(there) for local, remote in ends)


def test_all_together_keep_a_bounded_part_of_their_responses(small: Service, page: bytes) -> None:
    with unread(small, page) as first, unread(small, page) as second, unread(small, page) as third:
        assert received_until_reset(first) < PAGE_BYTES
        assert is_readable(second, PAGE_BYTES)
        assert is_readable(third, PAGE_BYTES)


def test_a_client_that_reads_slowly_is_preferred_to_one_that_does_not(small: Service, page: bytes) -> None:
    with unread(small, page) as slow, unread(small, page) as silent:
        assert is_readable(slow, 200_000)
        with unread(small, page) as new:
            assert received_until_reset(silent) < PAGE_BYTES
            assert is_readable(slow, PAGE_BYTES - 200_000)
            assert is_readable(new, PAGE_BYTES)


def test_a_body_that_all_share_counts_as_nothing(small: Service, page: bytes) -> None:
    with unread(small, page) as slow, unread(small, SCRIPT) as first, unread(small, SCRIPT) as second:
        for connection in (slow, first, second):
            assert is_readable(connection, PAGE_BYTES)


def test_requests_behind_unread_responses_keep_a_bounded_number_of_bytes(small: Service) -> None:
    post = b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"x" * 59_999
    with ExitStack() as stack:
        connections = [stack.enter_context(unread(small, SCRIPT + post)) for _ in range(50)]
        assert small.app.ports["public"].unread.held_bytes <= 2_500_000
        assert received_until_reset(connections[0]) < SCRIPT_BYTES
        assert is_readable(connections[-1], SCRIPT_BYTES)
