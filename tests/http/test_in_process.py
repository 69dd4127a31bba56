"""The application called in process, without a connection: the same responses, and a correct count of requests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from adapters.tokens import issue_token
from entrypoints.container import Container
from entrypoints.http.app import create_app
from entrypoints.http.limits import server_limits
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.settings import Settings
from tests.http.wire import assert_problem
from tests.services import SECRET

TASKS = "/api/ada/tasks"


class Finished:
    """Remembers every exchange."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def finished(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@pytest.fixture
def container() -> Container:
    return Container(settings=Settings.load({"JWT_SECRET": SECRET, "DATABASE_URL": "memory://"}, dotenv=None))


@pytest.fixture
def finished() -> Finished:
    return Finished()


@pytest.fixture
def app(container: Container, finished: Finished) -> ExchangeLayer:
    limits = replace(server_limits(container.settings()), max_concurrent_requests=2, request_seconds=0.2)
    return create_app(container, observers=(finished,), limits=limits)


@pytest.fixture
async def client(app: ExchangeLayer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {issue_token(SECRET, 'ada')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x", headers=headers) as client:
        yield client
    assert app.admission.in_progress == 0
    assert not app.admission.in_progress_by_user


@contextmanager
def stuck(container: Container, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Semaphore]:
    """Make reads of tasks wait forever; returns a semaphore that each of them releases when it begins."""
    entered = asyncio.Semaphore(0)

    async def wait(*_: object, **__: object) -> None:
        entered.release()
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(container.storage().tasks, "list", wait)
        yield entered


@pytest.mark.parametrize(
    ("method", "path", "known", "status", "route"),
    [
        ("GET", TASKS, True, 200, "/api/{user_id}/tasks"),
        ("HEAD", TASKS, True, 200, "/api/{user_id}/tasks"),
        ("GET", TASKS, False, 401, "/api/{user_id}/tasks"),
        ("GET", "/api/%67race%2F1/tasks", True, 403, "/api/{user_id}/tasks"),
        ("GET", "/nowhere", True, 404, None),
        ("DELETE", "/health/live", True, 405, None),
        ("GET", "/health/ready", True, 200, "/health/ready"),
    ],
)
async def test_each_request_is_observed_once_and_releases_its_slot(
    client: httpx.AsyncClient,
    finished: Finished,
    method: str,
    path: str,
    known: bool,
    status: int,
    route: str | None,
) -> None:
    if not known:
        del client.headers["Authorization"]
    answer = await client.request(method, path)
    (exchange,) = finished.exchanges
    assert answer.status_code == exchange.status == status
    assert (exchange.method, exchange.path, exchange.route) == (method, path, route)
    assert exchange.user_id == ("ada" if known and route and "user_id" in route else None)
    assert answer.headers["x-request-id"] == exchange.request_id


async def test_requests_beyond_the_capacity_are_rejected(
    client: httpx.AsyncClient, container: Container, app: ExchangeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"Authorization": f"Bearer {issue_token(SECRET, 'grace')}"}
    with stuck(container, monkeypatch) as entered:
        inside = [asyncio.create_task(client.get(TASKS))]
        await entered.acquire()
        assert app.admission.in_progress_by_user == {"ada": 1}
        assert_problem(await client.get(TASKS), "overloaded")  # one user may not hold all of it
        inside.append(asyncio.create_task(client.get("/api/grace/tasks", headers=other)))
        await entered.acquire()
        assert_problem(await client.get(TASKS), "overloaded")
        assert (await client.get("/health/live")).status_code == 200
        answers = await asyncio.gather(*inside)
    for answer in answers:
        assert_problem(answer, "storage_unavailable")
        assert answer.headers["connection"] == "close"


async def test_a_cancellation_by_the_caller_is_passed_on(
    client: httpx.AsyncClient, container: Container, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stuck(container, monkeypatch) as entered:
        request = asyncio.create_task(client.get(TASKS))
        await entered.acquire()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert [exchange.status for exchange in finished.exchanges] == [0]
    assert (await client.get(TASKS)).status_code == 200


async def test_the_deadline_cancels_the_request_only(
    client: httpx.AsyncClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It affects neither what the caller does next nor a simultaneous cancellation."""

    async def call() -> int:
        assert_problem(await client.get(TASKS), "storage_unavailable")
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task
        return task.cancelling()

    with stuck(container, monkeypatch):
        assert await asyncio.create_task(call()) == 0


async def test_a_process_that_stops_is_not_ready_and_then_admits_liveness_probes_alone(
    client: httpx.AsyncClient, app: ExchangeLayer
) -> None:
    app.admission.is_stopping = True
    assert_problem(await client.get("/health/ready"), "shutting_down")
    answer = await client.get(TASKS)
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    app.admission.is_draining = True
    assert_problem(await client.get(TASKS), "shutting_down")
    assert_problem(await client.get("/health/ready"), "shutting_down")
    answer = await client.get("/health/live")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
