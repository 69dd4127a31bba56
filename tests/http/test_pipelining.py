"""Unusual and hostile use of one connection: pipelining, trailers, upgrades. Other connections are not affected."""

import socket
import time
from contextlib import ExitStack

import pytest

from tests.http.wire import connected, listed, statuses
from tests.patience import eventually
from tests.services import Client, Service, running_service
from tests.wires import reset_when_closed

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def post(client: Client, title: str, *headers: str) -> bytes:
    body = f'{{"title": "{title}"}}'
    head = [f"POST {client.tasks} HTTP/1.1", "Host: x", f"Authorization: {client.headers['authorization']}"]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    with service.client() as ada, connected(service) as connection:
        connection.sendall(b"".join(post(ada, str(n)) for n in range(10)) + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert statuses(connection, 11) == [201] * 10 + [404]
        assert [task["title"] for task in listed(ada)] == [str(n) for n in reversed(range(10))]


def test_too_many_pipelined_requests_end_the_connection(service: Service) -> None:
    pipelined = service.app.limits.pipelined
    with connected(service) as connection:
        connection.sendall(LIVE * (pipelined * 100))
        assert len(statuses(connection)) <= pipelined + 1
    with service.client() as ada:
        assert ada.get("/health/live").status_code == 200


def test_garbage_behind_a_request_does_not_overtake_its_response(service: Service) -> None:
    with service.client() as ada, connected(service) as connection:
        connection.sendall(post(ada, "first") + b"garbage\r\n\r\n")
        assert statuses(connection) == [201]
        assert [task["title"] for task in listed(ada)] == ["first"]


def test_too_many_headers_are_rejected(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(LIVE[:-2] + b"a: b\r\n" * service.app.limits.headers + b"\r\n")
        assert statuses(connection) == [431]


def test_trailers_do_not_authenticate(service: Service) -> None:
    with service.client() as ada, connected(service) as connection:
        head = f"GET {ada.tasks} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        connection.sendall(f"{head}Authorization: {ada.headers['authorization']}\r\n\r\n".encode())
        assert statuses(connection, 1) == [401]


def test_trailers_are_bounded(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"a: b\r\n" * 10_000_000)


def test_a_body_in_many_chunks_is_a_body(service: Service) -> None:
    with service.client() as ada, connected(service) as connection:
        head, _, body = post(ada, "x" * 400).partition(b"\r\n\r\n")
        head = head[: head.index(b"Content-Length")] + b"Transfer-Encoding: chunked"
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        connection.sendall(head + b"\r\n\r\n" + chunks + b"0\r\n\r\n" + LIVE)
        assert statuses(connection, 2) == [201, 200]


def test_a_client_that_expects_100_continue_receives_it(service: Service) -> None:
    with service.client() as ada, connected(service) as connection:
        head, _, body = post(ada, "at last", "Expect: 100-continue").partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert statuses(connection, 1) == [201]


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "anything"])
@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_the_body_of_a_request_that_offers_an_upgrade_is_not_parsed_as_a_request(
    service: Service, protocol: str, pause: float
) -> None:
    """No request can be hidden from a proxy in it, and the offer itself is ignored."""
    offer = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABk"]
    with service.client() as ada, connected(service) as connection:
        hidden = post(ada, "hidden")
        head, _, body = post(ada, "x" * (len(hidden) - 13), *offer).partition(b"\r\n\r\n")
        assert len(body) == len(hidden)
        for part in (head + b"\r\n\r\n", hidden, LIVE):
            connection.sendall(part)
            time.sleep(pause)
        assert statuses(connection, 2) == [400, 200]
        connection.sendall(post(ada, "honest", *offer) * 2 + LIVE)
        assert statuses(connection, 3) == [201, 201, 200]
        assert [task["title"] for task in listed(ada)] == ["honest", "honest"]


def test_nothing_is_parsed_behind_a_connect_request(service: Service) -> None:
    with service.client() as ada, connected(service) as connection:
        connection.sendall(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + post(ada, "hidden"))
        assert statuses(connection) == [400]
        assert listed(ada) == []


def test_a_client_that_does_not_read_takes_no_capacity() -> None:
    with (
        running_service(
            limits={"rejection_pause_seconds": 0.1, "max_concurrent_requests": 2}, DATABASE_URL="memory://"
        ) as service,
        service.client() as ada,
        ExitStack() as connections,
    ):
        for _ in range(5):
            connection = connections.enter_context(connected(service))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /docs/assets/swagger.js HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        # The system's buffers are filled first; after that, the capacity is free and stays free.
        eventually(lambda: all(ada.post(ada.tasks, json={"title": "x"}).status_code == 201 for _ in range(20)))


def test_an_empty_line_after_a_response_does_not_keep_the_connection_open() -> None:
    with (
        running_service(limits={"keep_alive_seconds": 1}, DATABASE_URL="memory://") as service,
        connected(service) as connection,
    ):
        connection.sendall(LIVE + b"\r\n")
        assert statuses(connection) == [200]


SENT_BEFORE_THE_END = {
    "one request": (1, b"", 1),
    "two requests": (2, b"", 2),
    "ten requests": (10, b"", 10),
    "half a head": (1, LIVE[:-10], 1),
    "two requests and half a body": (2, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 2),
    "garbage": (1, b"garbage\r\n\r\n", 1),
}


@pytest.mark.parametrize("sent", SENT_BEFORE_THE_END.values(), ids=SENT_BEFORE_THE_END)
def test_a_client_that_sends_no_more_gets_its_responses(service: Service, sent: tuple[int, bytes, int]) -> None:
    many, rest, answered = sent
    with service.client() as ada:
        for _ in range(10):
            with connected(service) as connection:
                connection.sendall(post(ada, "x") * many + rest)
                connection.shutdown(socket.SHUT_WR)
                assert statuses(connection) == [201] * answered
        assert len(listed(ada)) == 10 * answered


@pytest.mark.parametrize("sent", [b"", LIVE[:-2], LIVE * 2], ids=["nothing", "half a head", "answered requests"])
def test_a_connection_closes_when_its_client_sends_no_more(service: Service, sent: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        assert statuses(connection, sent.count(LIVE)) == [200] * sent.count(LIVE)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(connection) == []


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_client_that_leaves_during_pipelined_requests_is_no_failure(
    service: Service, pieces: int, caplog: pytest.LogCaptureFixture
) -> None:
    with service.client() as ada:
        for n in range(60):
            with connected(service) as connection:
                for piece in [post(ada, "x") * 2] if pieces == 1 else [post(ada, "x")] * 2:
                    connection.sendall(piece)
                    time.sleep(n * 1e-4 / pieces)
                if n % 2:
                    reset_when_closed(connection)
        eventually(lambda: service.app.admission.in_progress == 0)
        assert ada.get(ada.tasks).status_code == 200
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]
