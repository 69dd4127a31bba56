"""The client in this process gets what a client of the service on a socket gets."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from adapters.memory import MemoryTaskRepository, user_tasks
from entrypoints.cli.serve import server_config
from entrypoints.http.server.listener import listen
from hextasks.testing import ManualClock, SequentialIds, memory_tasks
from hextasks.testing.http import InProcessService, make_token
from hextasks.testing.transport import InProcessTransport
from tests.patience import eventually

TASK = f"/{SequentialIds.nth(1)}"
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "", {"json": {"title": " Buy milk "}}),
    ("POST", "", {"json": {"title": ""}}),
    ("POST", "", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    ("POST", "", {"content": b"x" * 70_000, "headers": {"Content-Type": "application/json"}}),
    ("GET", "?q=%C3%A4&limit=2", {}),
    ("HEAD", TASK, {}),
    ("GET", TASK, {"headers": {"If-None-Match": '"1"'}}),
    ("PUT", TASK, {"json": {"title": "Call"}, "headers": {"Idempotency-Key": "a"}}),
    ("PUT", TASK, {"json": {"title": "Call"}, "headers": {"Idempotency-Key": "a"}}),
    ("PATCH", f"{TASK}/complete", {"headers": {"If-Match": '"1"'}}),
    ("DELETE", TASK, {}),
    ("GET", "/changes", {}),
    ("PUT", "", {}),
    ("GET", "", {"headers": {"Authorization": "Bearer nonsense"}}),
    ("OPTIONS", "", {}),
]
UNLIKE = {"connection", "date", "transfer-encoding", "x-request-id"}
"""Headers of a connection, and of one request."""


@contextmanager
def served(service: InProcessService) -> Iterator[httpx.Client]:
    """Serve the same application on a socket."""
    server = uvicorn.Server(server_config(service.app))
    with listen("127.0.0.1", 0, unread_seconds=service.app.limits.read_seconds) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        eventually(lambda: server.started)
        headers = {"Authorization": f"Bearer {make_token()}"}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", headers=headers, verify=False
        ) as client:
            yield client
        server.should_exit = True
        thread.join()


def shown(response: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    request_id = response.headers["x-request-id"].encode()
    headers = {name: value for name, value in response.headers.items() if name not in UNLIKE}
    return response.status_code, headers, response.content.replace(request_id, b"")


async def test_responses_are_those_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_tasks, "randbits", lambda _: 1)
    service = InProcessService()
    with served(service) as client:
        expected = [shown(client.request(method, f"/api/ada/tasks{path}", **given)) for method, path, given in CALLS]
    service.use()
    service.app.admission.is_draining = False  # the served one was stopped
    async with service.client() as ada:
        answers = [shown(await ada.request(method, ada.tasks + path, **given)) for method, path, given in CALLS]
    assert answers == expected
    assert len({status for status, _, _ in answers}) > 5


async def awaited(lines: AsyncIterator[str], wanted: str) -> None:
    async for line in lines:
        if line == wanted:
            return
    pytest.fail(f"the stream ended without {wanted}")


async def test_events_come_as_they_happen_and_end_with_the_client() -> None:
    service, repository, ids = InProcessService(), MemoryTaskRepository(), SequentialIds()
    service.use(repository, ids=ids)
    tasks = memory_tasks(repository=repository, ids=ids)
    async with service.client() as ada:
        for _ in range(2):
            async with ada.stream("GET", f"{ada.tasks}/events") as response:
                assert response.headers["content-type"] == "text/event-stream"
                events = response.aiter_lines()
                await awaited(events, "event: ready")
                await tasks.of("ada").create("Buy milk")  # by another part of the program
                await ada.post(ada.tasks, json={"title": "Call"})
                for _ in range(2):
                    await awaited(events, "event: change")
            assert not service.app.admission.streams.open
    assert service.app.admission.in_progress == 0


async def test_a_cancelled_request_is_cancelled_in_the_application() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    async with httpx.AsyncClient(transport=InProcessTransport(app), base_url="http://x") as client:
        request = asyncio.create_task(client.get("/"))
        await entered.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert left.is_set()


@pytest.mark.parametrize("message", [None, {"type": "http.response.start", "status": 200, "headers": []}])
async def test_an_application_that_fails_fails_the_test(message: dict[str, Any] | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if message:
            await send(message)
        raise LookupError("a fault")

    async with httpx.AsyncClient(transport=InProcessTransport(app), base_url="http://x") as client:
        with pytest.raises(LookupError, match="a fault"):
            await client.get("/")


async def test_the_parts_can_be_replaced() -> None:
    service, clock = InProcessService(), ManualClock()
    async with service.client("grace") as grace:
        clock.step(3600)
        service.use(clock=clock)
        created = await grace.post(grace.tasks, json={"title": "Buy milk"})
        assert created.json()["created_at"] == clock.now().isoformat().replace("+00:00", "Z")
        service.use()
        assert (await grace.get(grace.tasks)).json()["tasks"] == []
