"""Slow clients: each has a time limit, gets a response when it is exceeded, and takes no capacity from others."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.http.wire import assert_problem, connected, listed, made, one
from tests.services import Client, Service, running_service

pytestmark = pytest.mark.waits

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def hasty() -> Iterator[Service]:
    with running_service(limits={"request_seconds": 1.0}, DATABASE_URL="memory://") as service:
        yield service


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    while more := connection.recv(65_536):
        received += more
    return received


def post(client: Client, body: bytes, length: int) -> bytes:
    return (
        f"POST {client.tasks} HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode() + body


@pytest.mark.parametrize("body", [b"", b'{"title": "half'], ids=["nothing of it", "half of it"])
def test_a_body_that_does_not_arrive_is_a_408_and_creates_nothing(hasty: Service, body: bytes) -> None:
    with hasty.client() as ada, connected(hasty) as connection:
        connection.sendall(post(ada, body, length=40))
        head, _, problem = until_closed(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head.lower()
        assert json.loads(problem)["code"] == "request_timeout"
        assert listed(ada) == []


def test_a_body_that_arrives_slowly_is_bounded_as_a_whole(hasty: Service) -> None:
    with hasty.client() as ada, connected(hasty) as connection:
        connection.sendall(post(ada, b"", length=1000))
        connection.setblocking(False)
        head = b""
        deadline = time.monotonic() + 20
        while not head and time.monotonic() < deadline:
            try:
                connection.sendall(b" ")
                time.sleep(0.05)
                head = connection.recv(65_536)
            except BlockingIOError:
                continue
        assert head.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"GET /health/li", b"GET /health/live HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_arrive_ends_the_connection(hasty: Service, sent: bytes) -> None:
    with connected(hasty) as connection:
        connection.sendall(sent)
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_the_second_head_on_a_connection_is_bounded_too(hasty: Service) -> None:
    with connected(hasty) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /")
        assert b"HTTP/1.1 408 Request Timeout\r\n" in until_closed(connection)


def test_a_client_that_does_not_read_its_response_is_disconnected() -> None:
    with (
        running_service(limits={"read_seconds": 0.2}, DATABASE_URL="memory://") as service,
        service.client() as ada,
        connected(service) as connection,
    ):
        for _ in range(100):
            made(ada, "\U0001f600" * 500)
        ask = f"GET {ada.tasks}?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: {ada.headers['authorization']}\r\n\r\n"
        connection.sendall(ask.encode() * 100)
        connection.settimeout(0.0)
        time.sleep(2)
        received = 0
        with suppress(ConnectionResetError):
            while more := connection.recv(1 << 20):
                received += len(more)
    assert received < 100 * 100 * 2000, "all of it was buffered"


@pytest.mark.parametrize("rest", [40, 10], ids=["half a head", "half a body"])
def test_a_request_behind_an_unread_response_is_read_when_the_response_has_been(hasty: Service, rest: int) -> None:
    asset = b"GET /docs/assets/swagger.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(hasty) as connection:
        connection.sendall(asset[:-2] + b"Connection: close\r\n\r\n")
        size = len(until_closed(connection)) - len(b"connection: close\r\n")
    with hasty.client() as ada, connected(hasty) as connection:
        request = post(ada, b'{"title": "patient"}', 20)
        connection.sendall(asset * 8 + request[:-rest])
        time.sleep(3 * hasty.app.limits.request_seconds)
        received = 0
        while received < 8 * size and (more := connection.recv(1 << 20)):
            received += len(more)
        connection.sendall(request[-rest:])
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "empty lines"])
def test_a_connection_without_a_request_has_the_time_of_a_request(hasty: Service, sent: bytes) -> None:
    assert seconds_until_closed(hasty, sent) < 5


def test_empty_lines_between_requests_keep_no_connection_open() -> None:
    with running_service(limits={"keep_alive_seconds": 1}, DATABASE_URL="memory://") as service:
        assert seconds_until_closed(service, b"\r\n", LIVE) < 5


def seconds_until_closed(service: Service, again: bytes, first: bytes = b"") -> float:
    """Send something again and again, at most for 20 seconds."""
    began = time.monotonic()
    with connected(service) as connection, suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(first)
        connection.settimeout(0.1)
        while time.monotonic() < began + 20:
            connection.sendall(again)
            with suppress(TimeoutError):
                if not connection.recv(65_536):
                    break
    return time.monotonic() - began


def test_a_request_is_cancelled_at_its_deadline(hasty: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    with hasty.client() as ada:
        task = made(ada)
        monkeypatch.setattr(hasty.container.storage().tasks, "get", slow)
        answer = ada.get(one(ada, task))
        assert_problem(answer, "storage_unavailable")
        assert answer.headers["retry-after"] == "1"
        monkeypatch.undo()
        assert ada.get(one(ada, task)).json() == task
