"""Retries: whatever is lost, a call is answered and a write is done once."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from adapters.tokens import issue_token
from domain import TaskChange
from hextasks import CreateOperation, TaskDraft
from hextasks.client import ApiProblem, NoResponse, TasksClient, UserTasksClient, transport
from hextasks.client.transport import LONGEST_PAUSE_SECONDS, MAX_BODY_BYTES, pause_seconds
from tests.cli.processes import serving
from tests.client.unsteady import Fault, Unsteady, response
from tests.databases import Server
from tests.services import SECRET
from tests.wires import free_port


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_SECONDS", 0.02)


LOST: list[Fault] = ["lose request", "lose response", 40, response(502), response(503), response(504), response(408)]


@pytest.mark.parametrize("fault", LOST, ids=["request", "response", "half", "502", "503", "504", "408"])
async def test_each_write_is_done_once(
    unsteady: Unsteady, shaken: UserTasksClient, me: UserTasksClient, fault: Fault
) -> None:
    lost = [fault, fault, "forward"]
    unsteady.faults.extend(lost * 5)
    task = (await shaken.create("Buy milk")).task
    renamed = await shaken.update(task.id, TaskChange(title="Buy oat milk"), if_version=1)
    completed = await shaken.complete(task.id, if_version=2)
    batch = await shaken.batch([CreateOperation(draft=TaskDraft(title="Buy bread"))])
    deleted = await shaken.delete(task.id, if_version=3)
    assert (renamed.task.version, completed.task.version) == (2, 3)
    assert deleted.is_replayed is (fault in ("lose response", 40))
    assert (deleted.sync_token, (await me.list()).tasks) == ((await me.changes()).next, batch.results)
    assert (await me.changes()).next.endswith("-5")
    keys = [request.header("Idempotency-Key") for request in unsteady.requests]
    assert [*dict.fromkeys(keys)] == keys[::3]
    assert len(keys) == 15
    unsteady.faults.extend(lost)
    assert [each async for each in shaken.all()] == [*batch.results]


async def test_a_retry_waits_as_long_as_the_service_asks(unsteady: Unsteady, shaken: UserTasksClient) -> None:
    unsteady.faults.append(response(429, "Retry-After: 1"))
    await shaken.list()
    first, second = unsteady.requests
    assert second.at - first.at >= 1


def test_the_service_may_ask_by_a_date() -> None:
    def asked(value: str) -> float:
        return ApiProblem.of(httpx.Response(503, headers={"Retry-After": value})).retry_after

    now = datetime.now(UTC)
    assert 58 < asked(format_datetime(now + timedelta(seconds=60), usegmt=True)) <= 60
    assert [asked(value) for value in (format_datetime(now, usegmt=True), "soon", "-1")] == [0, 0, 0]


async def test_it_gives_up_where_the_total_time_does_not_suffice(
    unsteady: Unsteady, shaken: UserTasksClient, http: httpx.AsyncClient, token: str, user: str
) -> None:
    unsteady.faults.append(response(503, "Retry-After: 31"))
    with pytest.raises(ApiProblem) as later:
        await shaken.list()
    assert (later.value.status, later.value.code, later.value.retry_after) == (503, "unexpected_response", 31)
    assert str(later.value) == (
        "The response is not one of the task service (503 unexpected_response, request unknown)."
    )
    hasty = TasksClient(unsteady.url, token=token, http=http, total_seconds=0.5).of(user)
    unsteady.faults.append("silence")
    with pytest.raises(NoResponse) as silent:
        await hasty.list()
    assert isinstance(silent.value.__cause__, TimeoutError)


async def test_it_gives_up_instead_of_a_pause_that_is_longer_than_the_rest(
    unsteady: Unsteady, shaken: UserTasksClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "pause_seconds", lambda attempt, _: [0.0, 3600.0][attempt])
    unsteady.faults.extend(["lose request"] * 2)
    with pytest.raises(NoResponse, match="did not respond") as none:
        await shaken.create("Buy milk")
    assert isinstance(none.value.__cause__, httpx.RemoteProtocolError)
    assert len(unsteady.requests) == 2


@pytest.mark.parametrize("status", [200, 308, 404, 500])
async def test_other_responses_of_a_proxy_are_not_retried(
    unsteady: Unsteady, shaken: UserTasksClient, status: int
) -> None:
    unsteady.faults.append(response(status))
    with pytest.raises(ApiProblem) as foreign:
        await shaken.list()
    assert (foreign.value.status, foreign.value.code) == (status, "unexpected_response")
    assert len(unsteady.requests) == 1


async def test_a_body_of_any_size_takes_no_more_memory_than_the_largest_of_the_service(
    unsteady: Unsteady, shaken: UserTasksClient
) -> None:
    bomb = gzip.compress(b"[" * (MAX_BODY_BYTES + 1))
    unsteady.faults.append(response(200, "Content-Encoding: gzip", body=bomb))
    with pytest.raises(ApiProblem) as foreign:
        await shaken.list()
    assert foreign.value.code == "unexpected_response"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "body", [b'{"status":' + b"[" * 100_000, b'{"tasks":"\xff","status":400,"title":"\xff"}', b"\xff"]
)
async def test_a_malformed_body_is_a_problem(
    unsteady: Unsteady, shaken: UserTasksClient, status: int, body: bytes
) -> None:
    unsteady.faults.append(response(status, body=body))
    with pytest.raises(ApiProblem) as foreign:
        await shaken.list()
    assert (foreign.value.status, foreign.value.code) == (status, "unexpected_response")


@pytest.mark.parametrize("attempt", [0, 3, 5, 100_000])
def test_the_pause_is_random_below_a_bound_that_doubles(attempt: int) -> None:
    bound = min(LONGEST_PAUSE_SECONDS, transport.FIRST_PAUSE_SECONDS * 2 ** min(attempt, 10))
    pauses = [pause_seconds(attempt, 0.0) for _ in range(1000)]
    assert 0 <= min(pauses) < bound * 0.1
    assert bound * 0.9 < max(pauses) <= bound
    assert 7 <= pause_seconds(attempt, 7.0) <= 7 + bound


@pytest.mark.database
async def test_each_write_is_done_once_by_a_service_that_is_killed(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LONGEST_PAUSE_SECONDS", 0.1)
    settings = {"DATABASE_URL": await server.new_database(), "JWT_SECRET": SECRET, "PORT": str(free_port())}
    user = f"user-{uuid4()}"

    @asynccontextmanager
    async def running(*, is_killed: bool) -> AsyncIterator[str]:
        context = serving(tmp_path, **settings)
        served = await asyncio.to_thread(context.__enter__)
        try:
            yield served.address
            if is_killed:
                served.process.kill()
                served.process.wait()
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)

    titles = [f"task {n}" for n in range(200)]
    async with running(is_killed=True) as address:
        client = TasksClient(address, token=issue_token(SECRET, user))
        me = client.of(user)
        capacity, some_are_done = asyncio.Semaphore(10), asyncio.Event()
        versions: list[int] = []

        async def write(title: str) -> None:
            async with capacity:
                versions.append((await me.create(title)).task.version)
            if len(versions) >= 50:
                some_are_done.set()

        writes = [asyncio.create_task(write(title)) for title in titles]
        await some_are_done.wait()
        assert len(versions) < len(titles)
    async with running(is_killed=False), client:
        await asyncio.gather(*writes)
        assert sorted(versions) == [*range(1, len(titles) + 1)]
        assert sorted([task.title async for task in me.all()]) == sorted(titles)
