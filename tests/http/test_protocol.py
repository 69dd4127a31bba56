"""Input that is not a request: bytes that are not HTTP, and heads that exceed their limit."""

import json
import socket
from urllib.parse import urlsplit

import pytest

from entrypoints.http.server.limits import ServerLimits
from tests.services import Service

MAX_HEAD_BYTES = ServerLimits(max_concurrent_requests=1, request_seconds=1).head_bytes
HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


def answer_to(service: Service, *parts: bytes) -> tuple[bytes, bytes]:
    """Send bytes until the service responds, and return head and body of the response."""
    url = urlsplit(service.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed the connection early, as expected
        received = b""
        try:
            while b"}" not in received and (more := connection.recv(65_536)):
                received += more
        except ConnectionResetError:
            pass
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"FOO /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        HEAD + b"X-Long: " + b"x" * (2 * MAX_HEAD_BYTES),
        HEAD + b"X-Many: x\r\n" * (MAX_HEAD_BYTES // 8),
    ],
    ids=["garbage", "method", "path", "length", "long header", "many headers"],
)
def test_input_that_is_not_a_request_is_a_problem_and_ends_the_connection(service: Service, sent: bytes) -> None:
    head, body = answer_to(service, *(sent[n : n + 65_536] for n in range(0, len(sent), 65_536)))
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["code"], problem["status"]) == ("validation_error", 400)
    assert f"x-request-id: {problem['request_id']}".encode() in head


def test_a_long_head_within_the_limit_is_served(service: Service) -> None:
    head, _ = answer_to(service, HEAD + b"X-Long: " + b"x" * (MAX_HEAD_BYTES - 1000) + b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
