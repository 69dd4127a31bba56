"""More concurrent requests than the capacity: the excess is rejected at once, and not processed."""

import asyncio
import gc
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from entrypoints.http.server.admission import ADMIN_PATHS, LIVE, MAX_PROBES, READY, Admission, Rejected
from entrypoints.http.server.cycle import Cycle
from entrypoints.http.server.limits import ServerLimits
from tests.http.wire import assert_problem, connected, listed, made, one
from tests.services import Client, Service, running_service

pytestmark = pytest.mark.waits

CAPACITY = 2


@pytest.fixture(scope="module")
def narrow() -> Iterator[Service]:
    limits = {"max_concurrent_requests": CAPACITY, "rejection_pause_seconds": 0.5}
    with running_service(limits=limits, DATABASE_URL="memory://", CORS_ORIGINS="https://app.example.com") as service:
        yield service


@contextmanager
def in_progress(service: Service, monkeypatch: pytest.MonkeyPatch, *clients: Client) -> Iterator[None]:
    """Keep a request of each client in progress until the end of the block; then they are answered."""
    tasks = service.container.storage().tasks
    get, entered, leave = tasks.get, threading.Semaphore(0), threading.Event()

    async def wait(*arguments: Any) -> Any:
        entered.release()
        while not leave.is_set():
            await asyncio.sleep(0.005)
        return await get(*arguments)

    places = [one(client, made(client)) for client in clients]
    with ThreadPoolExecutor(len(clients)) as threads:
        monkeypatch.setattr(tasks, "get", wait)
        asked = [threads.submit(client.get, place) for client, place in zip(clients, places, strict=True)]
        try:
            assert all(entered.acquire(timeout=20) for _ in clients)
            yield
        finally:
            leave.set()
        assert [answer.result().status_code for answer in asked] == [200] * len(clients)


@contextmanager
def full(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep as many requests in progress as there is capacity, each of another user."""
    with ExitStack() as stack:
        clients = [stack.enter_context(service.client()) for _ in range(CAPACITY)]
        stack.enter_context(in_progress(service, monkeypatch, *clients))
        yield


def test_one_user_cannot_take_all_the_capacity(narrow: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with narrow.client() as ada, narrow.client() as grace:
        with in_progress(narrow, monkeypatch, ada):
            again = httpx.get(f"{narrow.url}{ada.tasks}", headers=ada.headers, verify=False)
            assert_problem(again, "overloaded")
            assert made(grace)["version"] == 1
        assert ada.get(ada.tasks).status_code == 200


def test_the_excess_is_rejected_at_once_and_health_probes_are_not(
    narrow: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with narrow.client() as grace:
        with full(narrow, monkeypatch):
            refused = grace.post(
                grace.tasks, json={"title": "one too many"}, headers={"Origin": "https://app.example.com"}
            )
            assert_problem(refused, "overloaded")
            assert refused.headers["retry-after"] == "2"
            assert refused.headers["access-control-allow-origin"] == "https://app.example.com"
            assert refused.headers["x-content-type-options"] == "nosniff"
            for path in ("/health/live", "/health/ready"):
                assert httpx.get(narrow.url + path, verify=False).status_code == 200
            assert_problem(httpx.head(narrow.url + grace.tasks), "overloaded", body=False)
        assert listed(grace) == []
        assert made(grace)["version"] == 1


def test_probes_have_a_limit_of_their_own_on_the_public_port() -> None:
    admission = Admission(ServerLimits(max_concurrent_requests=1, request_seconds=1))
    slots = [admission.admit(READY) for _ in range(MAX_PROBES)]
    with pytest.raises(Rejected, match="overloaded"):
        admission.admit(READY)
    for path, only in [(LIVE, None), (b"/docs", None), (READY, ADMIN_PATHS)]:
        admission.admit(path, only=only).leave()
    slots[0].leave()
    admission.admit(READY)
    assert admission.in_progress == 0


@pytest.mark.parametrize(("path", "user"), [(b"/docs", None), (b"/docs", "ada"), (READY, None)])
def test_a_slot_is_given_back_once(path: bytes, user: str | None) -> None:
    admission = Admission(ServerLimits(max_concurrent_requests=3, request_seconds=1))

    def held() -> int:
        return admission.in_progress + admission.probes_in_progress.total() + admission.in_progress_by_user.total()

    slots = [admission.admit(path) for _ in range(2)]
    for slot in slots:
        if user:
            slot.assign(user)
    both = held()
    slots[0].leave()
    slots[0].leave()
    assert held() == both / 2
    slots[1].leave()
    assert held() == 0


def test_a_connection_closed_after_a_rejection_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"max_concurrent_requests": CAPACITY, "rejection_pause_seconds": 0.05, "read_seconds": 0.1}
    with running_service(limits=limits, DATABASE_URL="memory://") as service, full(service, monkeypatch):
        assert_problem(
            httpx.get(f"{service.url}/api/ada/tasks", headers={"Connection": "close"}, verify=False), "overloaded"
        )
        time.sleep(0.5)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_slow_client_takes_no_capacity(narrow: Service) -> None:
    url = urlsplit(narrow.url)
    with narrow.client() as slow, narrow.client() as ada, ExitStack() as connections:
        for _ in range(CAPACITY + 1):
            connection = socket.create_connection((url.hostname, url.port))
            connections.enter_context(connection)
            connection.sendall(
                f"POST {slow.tasks} HTTP/1.1\r\nHost: x\r\nAuthorization: {slow.headers['authorization']}\r\n"
                'Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"title": '.encode()
            )
        assert made(ada)["version"] == 1
        connection.sendall(b'"at last"}')
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")


def test_pipelined_requests_are_rejected_in_order(narrow: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    url = urlsplit(narrow.url)
    with full(narrow, monkeypatch), socket.create_connection((url.hostname, url.port)) as connection:
        get = "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall((get.format("api/x/tasks") * 2 + get.format("health/live")).encode())
        received = b""
        while received.count(b"HTTP/1.1 ") < 3:
            received += connection.recv(65_536)
        assert [received[place + 9 : place + 12] for place in _places(received)] == [b"503", b"503", b"200"]


def _places(received: bytes) -> list[int]:
    return [found.start() for found in re.finditer(b"HTTP/1.1 ", received)]


def test_the_next_request_on_the_connection_of_a_rejected_one_is_delayed(
    narrow: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with narrow.client() as grace:
        with full(narrow, monkeypatch):
            assert_problem(grace.get(grace.tasks), "overloaded")
            started = time.monotonic()
            assert_problem(grace.get(grace.tasks), "overloaded")
            assert time.monotonic() - started > 0.3
        assert grace.get(grace.tasks).status_code == 200


def test_the_body_of_a_rejected_request_is_not_kept(narrow: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with full(narrow, monkeypatch), connected(narrow) as connection:
        connection.sendall(
            b"POST /api/ada/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 70_000
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 503 ")
        connection.settimeout(5)
        sent = 0
        while sent < 8_000_000:  # read from the end of the pause on
            sent += connection.send(b"x" * 100_000)
        kept = [len(each.body) for each in gc.get_objects() if isinstance(each, Cycle)]
    assert sum(kept) < 1_000_000
