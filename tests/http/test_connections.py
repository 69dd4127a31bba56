"""The number of connections: bounded, and a new one takes the place of the one that has been idle for longest."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from entrypoints.http.server.connections import Connections, WaitQueue, move
from entrypoints.http.server.limits import ServerLimits
from tests.http.test_overload import in_progress
from tests.http.wire import connected, received_until_end, statuses
from tests.services import Service, running_service

pytestmark = pytest.mark.waits

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /health/live HTTP/1.1\r\nHost:"
LARGE = b"GET /docs/assets/swagger.js HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def crowd(service: Service, count: int) -> Iterator[list[socket.socket]]:
    """Open connections one after the other."""
    with ExitStack() as stack:
        yield [stack.enter_context(connected(service)) for _ in range(count)]


def ask(connection: socket.socket, request: bytes = LIVE) -> None:
    connection.sendall(request)
    assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection; one that it has not answers."""
    try:
        connection.sendall(LIVE)
        return not connection.recv(65_536)
    except (ConnectionResetError, BrokenPipeError):
        return True


@pytest.fixture
def four() -> Iterator[Service]:
    """A service that accepts four connections."""
    with running_service(limits={"connections": 4}, DATABASE_URL="memory://") as service:
        yield service


def test_a_new_connection_takes_the_place_of_the_longest_idle_one(
    four: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with crowd(four, 4) as before:
        for connection in (*before, before[0]):
            ask(connection)
        with crowd(four, 2) as new:
            for connection in new:
                ask(connection)
            assert [is_closed(each) for each in before] == [False, True, True, False]
    lines = [record for record in caplog.records if record.message == "connection_limit_reached"]
    assert [line.__dict__["fields"] for line in lines] == [{"limit": 4, "closed": 1}], "one line for both"


def test_a_silent_connection_is_idle_too(four: Service) -> None:
    with crowd(four, 4) as silent, crowd(four, 3) as new:
        for connection in new:
            ask(connection)
        assert [is_closed(each) for each in silent] == [True, True, True, False]


@pytest.mark.parametrize("sent", [HALF, LARGE * 10], ids=["half a head", "unread responses"])
def test_without_idle_ones_the_slowest_client_loses_its_connection(four: Service, sent: bytes) -> None:
    with crowd(four, 4) as slow:
        for connection in slow:
            connection.sendall(sent)
            time.sleep(0.2)
        with crowd(four, 2) as new:
            for connection in new:  # the first is not closed for the second, although it alone is idle
                ask(connection)
            assert all(is_closed_early(each) for each in slow[:2])
            assert not any(is_closed(each) for each in new)


def is_closed_early(connection: socket.socket) -> bool:
    """Return whether a connection ends before all its responses were sent."""
    received, _ = received_until_end(connection)
    return received < 10_000_000


def test_a_request_in_progress_keeps_its_connection(four: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(four.client()) for _ in range(4)]
        stack.enter_context(in_progress(four, monkeypatch, *clients))
        with connected(four) as new:
            assert is_closed(new)


@pytest.mark.parametrize("before", [b"", LIVE], ids=["alone", "behind another"])
def test_incomplete_requests_together_keep_a_bounded_number_of_bytes(before: bytes) -> None:
    head = b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    with (
        running_service(limits={"arriving_bytes": 310_000}, DATABASE_URL="memory://") as service,
        crowd(service, 10) as connections,
    ):
        for connection in connections:
            connection.sendall(before + head + b"x" * 59_999)
            assert statuses(connection, before.count(LIVE)) == [200] * before.count(LIVE)
            ask_apart(service)
        for connection in connections[:5]:
            assert is_closed(connection)
        for connection in connections[5:]:
            connection.sendall(b"x")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 405 ")


def ask_apart(service: Service) -> None:
    with connected(service) as connection:
        ask(connection)


def test_a_body_that_is_discarded_counts_as_nothing() -> None:
    head = b"POST /api/x/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    with (
        running_service(limits={"arriving_bytes": 310_000}, DATABASE_URL="memory://") as service,
        crowd(service, 2) as (half, early),
    ):
        half.sendall(HALF)
        ask_apart(service)
        early.sendall(head + b"x" * 70_000)
        assert early.recv(65_536).startswith(b"HTTP/1.1 401 ")
        with suppress(OSError):
            for _ in range(60):
                early.sendall(b"x" * 16_384)
        half.sendall(b" x\r\n\r\n")
        assert half.recv(65_536).startswith(b"HTTP/1.1 200 ")


class Unread:
    """A connection whose client does not read."""

    queue: WaitQueue | None = None
    kept = 0

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        move(self, connections.unread)

    def keep(self, size: int) -> None:
        self.kept = size
        self.connections.unread.hold(self, size)

    def expire(self, queue: WaitQueue) -> None: ...

    def evict(self, queue: WaitQueue) -> None:
        self.kept = 0


async def test_thousands_of_small_rests_make_room_for_a_large_one() -> None:
    limits = ServerLimits(max_concurrent_requests=1, request_seconds=60, unread_bytes=5_000)
    connections = Connections(limits, 10_000)
    unread = [Unread(connections) for _ in range(5_000)]
    for each in unread:
        each.keep(1)
    unread[-1].keep(4_001)
    assert connections.unread.held_bytes == 5_000
    assert [each.kept for each in unread] == [0] * 4_000 + [1] * 999 + [4_001]
