"""Events: each change once and in order, over lost, silent and ended connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from urllib.parse import urlsplit

import httpx
import pytest

from entrypoints.http.api import events as service_events
from hextasks import CreateOperation, Removal, Task, TaskDraft
from hextasks.client import (
    ApiProblem,
    ChangeEvent,
    Event,
    NoResponse,
    Resync,
    TasksClient,
    UserTasksClient,
    stream,
    transport,
)
from tests.client.unsteady import Fault, Unsteady, events_response, response
from tests.patience import until
from tests.services import Service
from tests.wires import Wire

pytestmark = pytest.mark.waits

SEPARATED = "line\u2028paragraph\u2029next"
"""Python takes these characters for ends of lines; the event stream does not."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_events, "RETRY_MILLISECONDS", range(1, 20))
    monkeypatch.setattr(stream, "LEAST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(transport, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(transport, "LONGEST_PAUSE_SECONDS", 0.05)


def title(event: Event) -> str:
    assert isinstance(event, ChangeEvent)
    assert isinstance(event.change, Task)
    return event.change.title


async def filled(me: UserTasksClient, *titles: str) -> str:
    """Create tasks, and return the token before them."""
    before = (await me.changes()).next
    await me.batch([CreateOperation(draft=TaskDraft(title=title)) for title in titles])
    return before


async def test_changes_come_as_they_happen_with_the_token_after_each(me: UserTasksClient) -> None:
    since = (await me.create("zero")).sync_token
    async with aclosing(me.events(since=since)) as events:
        one, two = await me.create("one"), await me.create(SEPARATED)
        assert await anext(events) == ChangeEvent(change=one.task, token=one.sync_token or "")
        assert await anext(events) == ChangeEvent(change=two.task, token=two.sync_token or "")
        deleted = await me.delete(one.task.id)
        removal = Removal(id=one.task.id, version=4)
        assert await anext(events) == ChangeEvent(change=removal, token=deleted.sync_token or "")


async def test_without_a_token_they_begin_now(me: UserTasksClient) -> None:
    await me.create("before")
    async with aclosing(me.events()) as events:
        first = asyncio.ensure_future(anext(events))

        async def has_come() -> bool:
            await me.create("after")
            return first.done()

        await until(has_come)
        assert title(await first) == "after"


async def test_an_expired_token_is_an_item_of_its_own_and_the_events_go_on(me: UserTasksClient) -> None:
    await me.create("one")
    async with aclosing(me.events(since="ffffffffffff-7")) as events:
        assert await anext(events) == Resync(token=(await me.changes()).next)
        await me.create("two")
        assert title(await anext(events)) == "two"


async def test_they_go_on_after_the_last_one_wherever_a_connection_is_lost(
    unsteady: Unsteady, shaken: UserTasksClient, me: UserTasksClient
) -> None:
    titles = [f"{n} {SEPARATED}" for n in range(10)]
    since = await filled(me, *titles)
    lost: list[Fault] = ["lose request", response(503), 1, 200, *range(500, 2500, 97)]
    unsteady.faults.extend(lost)
    async with aclosing(shaken.events(since=since)) as events:
        assert [title(await anext(events)) for _ in titles] == titles
        await me.create("last")
        unsteady.faults.clear()
        assert title(await anext(events)) == "last"
    assert len(unsteady.requests) > 10


async def test_the_next_connection_begins_after_the_last_id_and_the_time_that_the_service_asks_for(
    unsteady: Unsteady, shaken: UserTasksClient, me: UserTasksClient
) -> None:
    since = await filled(me, "one")
    ready, ping, cut = f"retry: 300\r\nid: {since}\r\nevent: ready\r\n\r\n", ":\n\nevent: ping\n\n", "id: 7\nevent: cha"
    unsteady.faults.append(events_response(ready + ping + cut))
    async with aclosing(shaken.events(since=since)) as events:
        assert title(await anext(events)) == "one"
    first, second = unsteady.requests
    assert second.at - first.at >= 0.3
    assert (first.header("Last-Event-ID"), second.header("Last-Event-ID")) == ("", since)


@pytest.mark.parametrize(
    "nonsense", ["retry: " + "9" * 5000, "retry: 0", "\udcff: \udcff", "\n".join(["a:", "b:"] * 100)]
)
async def test_what_means_nothing_is_passed_over(
    unsteady: Unsteady, shaken: UserTasksClient, me: UserTasksClient, nonsense: str
) -> None:
    since = await filled(me, "one")
    unsteady.faults.append(events_response(f"retry: 1\n{nonsense}\n\n"))
    async with aclosing(shaken.events(since=since)) as events:
        assert title(await anext(events)) == "one"
    first, second = unsteady.requests
    assert second.at - first.at >= stream.LEAST_RETRY_SECONDS


@pytest.fixture
async def wire(service: Service) -> AsyncIterator[Wire]:
    url = urlsplit(service.url)
    async with Wire((url.hostname or "", url.port or 0)).laid() as wire:
        yield wire


async def test_a_silent_connection_is_given_up_and_an_outage_is_waited_for(
    wire: Wire, http: httpx.AsyncClient, me: UserTasksClient, token: str
) -> None:
    client = TasksClient(f"http://127.0.0.1:{wire.port}", token=token, http=http, total_seconds=1)
    since = await filled(me, "one")
    async with aclosing(client.of(me.user_id).events(since=since, silence_seconds=0.1)) as events:
        assert title(await anext(events)) == "one"
        wire.cut()
        await me.create("two")
        second = asyncio.ensure_future(anext(events))

        async def has_tried_longer() -> bool:
            return len(wire.clients) > 12  # each for a tenth of a second

        await until(has_tried_longer)
        assert not second.done()
        wire.restore(and_deliver=False)
        assert title(await second) == "two"


async def test_the_connection_is_closed_where_the_loop_is_left(
    wire: Wire, http: httpx.AsyncClient, me: UserTasksClient, token: str
) -> None:
    client = TasksClient(f"http://127.0.0.1:{wire.port}", token=token, http=http)
    since = await filled(me, "one", "two")
    async with aclosing(client.of(me.user_id).events(since=since)) as events:
        async for event in events:
            assert title(event) == "one"
            break
        assert wire.clients

    async def is_closed() -> bool:
        return not wire.clients

    await until(is_closed)


async def test_they_end_when_a_fresh_token_is_rejected_too(
    unsteady: Unsteady, shaken: UserTasksClient, me: UserTasksClient, http: httpx.AsyncClient, token: str
) -> None:
    since = await filled(me, "one", "two", "three")
    given = iter([token, "expired", token, "expired", "expired-too"])
    client = TasksClient(unsteady.url, token=lambda: next(given), http=http)
    unsteady.faults.extend([1000, "forward", 1000, "forward"])
    async with aclosing(client.of(me.user_id).events(since=since)) as events:
        with pytest.raises(ApiProblem) as ended:
            [event async for event in events]
    assert (ended.value.status, ended.value.code) == (401, "token_invalid")
    assert next(given, None) is None


async def test_what_no_retry_helps_is_raised(
    unsteady: Unsteady, shaken: UserTasksClient, http: httpx.AsyncClient, user: str, token: str
) -> None:
    with pytest.raises(ApiProblem) as other:
        await anext(TasksClient(unsteady.url, token=token, http=http).of("other").events())
    assert other.value.code == "forbidden"
    broken = ("event: change\ndata: {}\n\n", "id: 7\rX-Header: 1\n\n", "data: " + "x" * stream.MAX_LINE_BYTES)
    for foreign in (response(200), *map(events_response, broken)):
        unsteady.faults.append(foreign)
        with pytest.raises(ApiProblem) as unexpected:
            await anext(shaken.events())
        assert unexpected.value.code == "unexpected_response"
    unsteady.faults.extend(["lose request"] * 100)
    with pytest.raises(NoResponse):
        await anext(TasksClient(unsteady.url, token=token, http=http, total_seconds=0.2).of(user).events())
    unsteady.faults.clear()
