"""The server with arbitrary ASGI applications, on a socket: streams, malformed responses, large uploads."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
import uvicorn

from entrypoints.cli.serve import server_config
from entrypoints.http.server.asgi import App, Message, Receive, Scope, Send
from entrypoints.http.server.exchange import CLIENT_GONE, Exchange
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.http.server.limits import ServerLimits
from tests.patience import eventually

pytestmark = pytest.mark.waits

LIMITS = ServerLimits(max_concurrent_requests=10, request_seconds=10)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PLAIN = (b"content-type", b"text/plain")


class Served:
    """An application on a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.exchanges: list[Exchange] = []

    def finished(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def answer(self, *sent: bytes) -> bytes:
        """Send data, and return everything received until the connection is closed."""
        with self.connected() as connection:
            for part in sent:
                connection.sendall(part)
            return rest(connection)


def rest(connection: socket.socket, end: bytes | None = None) -> bytes:
    """Receive until this end has come, or the connection is closed."""
    received = b""
    while not (end and received.endswith(end)) and (more := connection.recv(1 << 20)):
        received += more
    return received


@contextmanager
def serving(app: App, **limits: Any) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(listener.getsockname()[1])
        layer = ExchangeLayer(app, limits=replace(LIMITS, **limits), observers=(served,))
        config = server_config(layer)
        config.lifespan = "off"
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            eventually(lambda: server.started)
            yield served
        finally:
            server.should_exit = True
            thread.join()


def responding(*messages: Message) -> App:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [PLAIN, *headers]}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_the_version_of_uvicorn_is_the_pinned_one() -> None:
    """HttpConnection relies on how uvicorn's server makes and stops connections, which is not documented."""
    assert version("uvicorn").split(".")[:2] == ["0", "54"]


def test_a_stream_is_sent_part_by_part() -> None:
    proceed = threading.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"one", more=True))
        while not proceed.is_set():
            await asyncio.sleep(0.01)
        await send(body(b"two"))

    with serving(app) as served, served.connected() as connection:
        connection.sendall(GET)
        assert b"transfer-encoding: chunked\r\n" in rest(connection, b"3\r\none\r\n")
        proceed.set()
        assert rest(connection, b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        connection.sendall(GET)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_stream_to_an_old_client_ends_with_the_connection() -> None:
    with serving(responding(start(), body(b"one", more=True), body(b"two"))) as served:
        head, _, content = served.answer(b"GET / HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert content == b"onetwo"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("HEAD", [(b"content-length", b"3")], 200), ("HEAD", [], 200), ("GET", [], 204), ("GET", [], 304)],
)
def test_a_response_without_content_ends_with_its_head(
    method: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    content = b"xyz" if method == "HEAD" else b""
    with serving(responding(start(*headers, status=status), body(content))) as served:
        request = f"{method} / HTTP/1.1\r\nHost: x\r\n".encode()
        received = served.answer(request + b"\r\n", request + b"Connection: close\r\n\r\n")
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.endswith(b"\r\n\r\n")
    assert b"xyz" not in received  # which no request id contains
    assert b"transfer-encoding" not in received
    assert [exchange.method for exchange in served.exchanges] == [method] * 2


WRONG = {
    "too much content": [start((b"content-length", b"3")), body(b"four")],
    "too little content": [start((b"content-length", b"3")), body(b"ab")],
    "two responses": [start((b"content-length", b"1")), start((b"content-length", b"1"))],
    "no end": [start((b"content-length", b"1"))],
}


@pytest.mark.parametrize("messages", WRONG.values(), ids=WRONG.keys())
def test_a_response_that_is_not_well_formed_is_not_sent(messages: list[Message]) -> None:
    with serving(responding(*messages)) as served:
        assert served.answer(GET) == b""


async def raising(*_: object) -> None:
    raise RuntimeError("secret")


@pytest.mark.parametrize("end", [b"\r\nsecret: x", b"\nsecret: x", b"\rsecret: x", b"\0secret"])
def test_a_header_cannot_contain_another_one(end: bytes) -> None:
    with serving(responding(start((b"content-length", b"0"), (b"x", b"y" + end)), body(b""))) as served:
        received = served.answer(GET)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in received


@pytest.mark.parametrize("app", [raising, responding()], ids=["raises", "says nothing"])
def test_an_application_that_fails_is_an_internal_error(app: App) -> None:
    with serving(app) as served:
        received = served.answer(GET)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"application/problem+json" in received
    assert b"secret" not in received
    assert [(exchange.status, exchange.problem_code) for exchange in served.exchanges] == [(500, "internal_error")]


def test_a_large_upload_is_read_at_the_pace_of_the_application() -> None:
    size = 5_000_000

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        received = parts = 0
        message: Message = {"more_body": True}
        while message["more_body"]:
            message = await receive()
            received, parts = received + len(message["body"]), parts + 1
        text = f"{received} in {min(parts, 10)}".encode()
        await send(start((b"content-length", b"%d" % len(text))))
        await send(body(text))

    with serving(app) as served, served.connected() as connection:
        for _ in range(2):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            assert rest(connection, b"in 10").endswith(b"\r\n\r\n%d in 10" % size)


def test_an_application_is_notified_of_a_disconnect() -> None:
    entered = threading.Event()

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        assert (await receive())["type"] == "http.request"
        entered.set()
        assert (await receive())["type"] == "http.disconnect"

    with serving(app) as served:
        with served.connected() as connection:
            connection.sendall(GET)
            assert entered.wait(20)
        eventually(lambda: len(served.exchanges) == 1)
    assert served.exchanges[0].client_gone
    assert served.exchanges[0].status == CLIENT_GONE


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await asyncio.sleep(1.5)
        await send(start((b"content-length", b"2")))
        await send(body(b"ok"))

    with serving(app, keep_alive_seconds=1) as served, served.connected() as connection:
        connection.sendall(GET)
        began = time.monotonic()
        received = rest(connection)
        assert received.endswith(b"\r\n\r\nok")
        assert 2.4 < time.monotonic() - began < 10


def test_a_connection_beyond_the_limit_is_closed_if_all_others_have_a_request_in_progress() -> None:
    begun: list[None] = []
    is_over = threading.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        begun.append(None)
        while not is_over.is_set():
            await asyncio.sleep(0.01)
        await send(start((b"content-length", b"2")))
        await send(body(b"ok"))

    with serving(app, connections=2) as served, served.connected() as one, served.connected() as two:
        for connection in (one, two):
            connection.sendall(GET)
        eventually(lambda: len(begun) == 2)
        began = time.monotonic()
        with served.connected() as three:
            assert three.recv(4096) == b""
        assert time.monotonic() - began < LIMITS.request_seconds, "a limit of time closed it"
        is_over.set()
        for connection in (one, two):
            assert connection.recv(4096).endswith(b"\r\n\r\nok")
