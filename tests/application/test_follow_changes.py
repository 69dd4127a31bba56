"""Following changes: every one in order, woken by writes and by polling, whatever the storage does."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

import pytest

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import (
    NOTHING,
    ChangePage,
    ChangeSignal,
    CreateTask,
    FollowChanges,
    InvalidPage,
    NotOwner,
    State,
    StateExpired,
    StorageUnavailable,
    TaskRepository,
)
from domain import Task, TaskDraft

POLL_SECONDS = 0.02


class Fragile(MemoryTaskRepository):
    """Counts polls, and at times is unavailable, or fails otherwise to read states."""

    def __init__(self) -> None:
        super().__init__()
        self.is_available = True
        self.has_fault = False
        self.polled: list[set[str]] = []

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        self.polled.append({*user_ids})
        self._check()
        if self.has_fault:
            raise RuntimeError("an operator has dropped a column")
        return await super().states(user_ids)

    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        self._check()
        return await super().changes(user_id, since=since, limit=limit)

    def _check(self) -> None:
        if not self.is_available:
            raise StorageUnavailable


@pytest.fixture
def fragile() -> Fragile:
    return Fragile()


@pytest.fixture
def signal() -> ChangeSignal:
    return ChangeSignal(poll_seconds=POLL_SECONDS)


def create(tasks: TaskRepository, signal: ChangeSignal | None = None) -> CreateTask:
    """Return the use-case; without the signal of its listeners, it is that of another process."""
    return CreateTask(tasks=tasks, clock=SystemClock(), ids=Uuid7Ids(), signal=signal or ChangeSignal())


async def created(create: CreateTask, title: str, user: str = "ada") -> Task:
    return (await create(actor=user, user_id=user, draft=TaskDraft(title=title))).task


async def next_page(pages: AsyncGenerator[ChangePage, None]) -> ChangePage:
    async with asyncio.timeout(20):
        return await anext(pages)


@pytest.mark.parametrize("is_published", [True, False], ids=["of this process", "of another process"])
async def test_each_change_comes_once_and_in_order(tasks: TaskRepository, is_published: bool) -> None:
    signal = ChangeSignal(poll_seconds=3600 if is_published else POLL_SECONDS)
    writer = create(tasks, signal if is_published else None)
    before = [await created(writer, f"before {n}") for n in range(3)]
    follow = FollowChanges(tasks=tasks, signal=signal)
    async with aclosing(follow(actor="ada", user_id="ada", since=NOTHING, limit=2)) as pages:
        one, two = await next_page(pages), await next_page(pages)
        assert [*one.changes, *two.changes] == before
        assert (one.has_more, two.has_more) == (True, False)
        for n in range(3):
            task = await created(writer, f"after {n}")
            await created(writer, "hers", "grace")
            assert (await next_page(pages)).changes == (task,)


async def test_without_a_state_the_first_page_is_empty_and_names_the_present(
    fragile: Fragile, signal: ChangeSignal
) -> None:
    follow = FollowChanges(tasks=fragile, signal=signal)
    async with aclosing(follow(actor="ada", user_id="ada")) as pages:
        assert await next_page(pages) == ChangePage(changes=(), next=NOTHING, has_more=False)
    await created(create(fragile), "x")
    async with aclosing(follow(actor="ada", user_id="ada")) as pages:
        assert (await next_page(pages)).next == (await fragile.states(["ada"]))["ada"]


async def test_a_slow_consumer_receives_what_has_happened_meanwhile_in_one_page(
    fragile: Fragile, signal: ChangeSignal
) -> None:
    follow = FollowChanges(tasks=fragile, signal=signal)
    async with aclosing(follow(actor="ada", user_id="ada")) as pages:
        await next_page(pages)
        meanwhile = tuple([await created(create(fragile, signal), f"{n}") for n in range(50)])
        assert (await next_page(pages)).changes == meanwhile


@pytest.mark.slow
async def test_an_empty_page_comes_after_a_time_without_changes(fragile: Fragile, signal: ChangeSignal) -> None:
    follow = FollowChanges(tasks=fragile, signal=signal)
    async with aclosing(follow(actor="ada", user_id="ada", idle_seconds=0.05)) as pages:
        state = (await next_page(pages)).next
        for _ in range(3):
            assert await next_page(pages) == ChangePage(changes=(), next=state, has_more=False)


async def test_an_older_state_that_is_noticed_late_brings_no_page(fragile: Fragile, signal: ChangeSignal) -> None:
    follow, writer = FollowChanges(tasks=fragile, signal=signal), create(fragile, signal)
    async with aclosing(follow(actor="ada", user_id="ada", since=NOTHING, limit=1)) as pages:
        old = (await next_page(pages)).next
        await created(writer, "one")
        await next_page(pages)
        waiting = asyncio.create_task(next_page(pages))
        await asyncio.sleep(0)
        signal.publish("ada", old)
        await asyncio.sleep(2 * POLL_SECONDS)
        assert not waiting.done()
        await created(writer, "two")
        assert len((await waiting).changes) == 1


@pytest.mark.slow
async def test_all_listeners_are_polled_together_and_nothing_is_polled_without_any(
    fragile: Fragile, signal: ChangeSignal
) -> None:
    follow = FollowChanges(tasks=fragile, signal=signal)
    users = {f"user-{n}" for n in range(10)}
    listeners = [follow(actor=user, user_id=user, since=NOTHING) for user in sorted(users) * 2]
    for pages in listeners:
        await next_page(pages)
    fragile.polled.clear()
    await asyncio.sleep(10 * POLL_SECONDS)
    assert 1 <= len(fragile.polled) <= 11
    assert all(polled == users for polled in fragile.polled)
    for pages in listeners:
        await pages.aclose()
    await asyncio.sleep(2 * POLL_SECONDS)
    fragile.polled.clear()
    await asyncio.sleep(10 * POLL_SECONDS)
    assert fragile.polled == []


@pytest.mark.slow
async def test_an_unavailable_storage_only_delays(fragile: Fragile, signal: ChangeSignal) -> None:
    follow = FollowChanges(tasks=fragile, signal=signal)
    writer = create(fragile, signal)
    async with aclosing(follow(actor="ada", user_id="ada", limit=1)) as pages:
        await next_page(pages)
        fragile.is_available = False
        waiting = asyncio.create_task(next_page(pages))
        both = [await created(writer, "one"), await created(writer, "two")]
        await asyncio.sleep(5 * POLL_SECONDS)
        assert not waiting.done()
        fragile.is_available = True
        assert (await waiting).changes == (both[0],)
        fragile.is_available = False  # between two pages
        waiting = asyncio.create_task(next_page(pages))
        await asyncio.sleep(5 * POLL_SECONDS)
        fragile.is_available = True
        assert (await waiting).changes == (both[1],)


@pytest.mark.slow
async def test_the_lag_is_the_time_since_the_last_successful_poll(fragile: Fragile, signal: ChangeSignal) -> None:
    loop = asyncio.get_running_loop()
    assert signal.lag() == 0
    with signal.listening("ada", tasks=fragile):
        fragile.is_available = False
        await asyncio.sleep(5 * POLL_SECONDS)
        assert signal.lag() > 4 * POLL_SECONDS
        fragile.is_available, available_at = True, loop.time()
        async with asyncio.timeout(20):
            while signal.lag() > loop.time() - available_at:
                await asyncio.sleep(POLL_SECONDS)
    assert signal.lag() == 0


@pytest.mark.slow
async def test_a_fault_of_polling_neither_ends_it_nor_hides_changes(fragile: Fragile, signal: ChangeSignal) -> None:
    async with aclosing(FollowChanges(tasks=fragile, signal=signal)(actor="ada", user_id="ada")) as pages:
        await next_page(pages)
        for has_fault in (True, False):
            fragile.has_fault = has_fault
            waiting = asyncio.create_task(next_page(pages))
            await asyncio.sleep(5 * POLL_SECONDS)
            assert not waiting.done()
            task = await created(create(fragile), "one")
            assert (await waiting).changes == (task,)


async def test_what_the_first_page_raises(fragile: Fragile, signal: ChangeSignal) -> None:
    follow = FollowChanges(tasks=fragile, signal=signal)
    with pytest.raises(NotOwner):
        await next_page(follow(actor="ada", user_id="grace"))
    with pytest.raises(InvalidPage):
        await next_page(follow(actor="ada", user_id="ada", limit=0))
    with pytest.raises(StateExpired):
        await next_page(follow(actor="ada", user_id="ada", since=State(epoch=1, number=1)))
    fragile.is_available = False
    with pytest.raises(StorageUnavailable):
        await next_page(follow(actor="ada", user_id="ada"))


async def test_one_can_go_on_after_each_change_of_a_page(tasks: TaskRepository) -> None:
    """Also in a first synchronization, which each state within the page belongs to."""
    writer = create(tasks)
    all_tasks = [await created(writer, f"{n}") for n in range(6)]
    page = await tasks.changes("ada", since=NOTHING, limit=4)
    for change, state in page.steps(NOTHING):
        rest = await tasks.changes("ada", since=state, limit=10)
        assert [*rest.changes] == [task for task in all_tasks if task.version > change.version]
        assert state.began == 6
    last = await tasks.changes("ada", since=page.next, limit=4)
    *_, (_, end) = last.steps(page.next)
    assert end == last.next
    assert end.began == 0


async def test_a_listener_that_leaves_does_not_disturb_another_of_the_same_user(
    fragile: Fragile, signal: ChangeSignal
) -> None:
    with signal.listening("ada", tasks=fragile) as stays:
        with signal.listening("ada", tasks=fragile):
            pass
        await created(create(fragile, signal), "one")
        assert await stays.wait(until=asyncio.get_running_loop().time() + 20)
