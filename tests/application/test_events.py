"""Events: what each change gives, when they come, and what a consumer that leaves receives again."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

import pytest

from adapters.memory import MemoryTaskRepository
from adapters.positions import MemoryPositions
from application import PositionsInUse, State, StorageUnavailable, TaskEvent, TaskRepository, Tasks, follow_events
from application.events import TaskRenamed
from domain import InvalidText, TaskChange
from tests.application.consumers import Consumer, lists, rest, told, use_cases


async def following(events: AsyncGenerator[TaskEvent, None]) -> TaskEvent:
    async with asyncio.timeout(20):
        return await anext(events)


async def test_each_kind_of_event(tasks: TaskRepository, positions: MemoryPositions) -> None:
    both = use_cases(tasks)
    ada, received = both.of("ada"), []
    milk = (await ada.create("Buy milk")).task
    received += await rest(both, positions)
    renamed = (await ada.update(milk.id, TaskChange(title="Buy oat milk"))).task
    received += await rest(both, positions)
    completed = (await ada.complete(milk.id)).task
    received += await rest(both, positions)
    reopened = (await ada.update(milk.id, TaskChange(is_completed=False))).task
    received += await rest(both, positions)
    deleted = await ada.delete(milk.id)
    received += await rest(both, positions)
    assert [(event.kind, event.title, event.at) for event in received] == [
        ("created", "Buy milk", milk.created_at),
        ("renamed", "Buy oat milk", renamed.updated_at),
        ("completed", "Buy oat milk", completed.completed_at),
        ("reopened", "Buy oat milk", reopened.updated_at),
        ("deleted", "Buy oat milk", None),
    ]
    assert deleted.state
    assert [event.id for event in received] == [f"{deleted.state.epoch:012x}-{n}-0" for n in range(1, 6)]
    assert {(event.user_id, event.task_id) for event in received} == {("ada", milk.id)}
    assert [event.old_title for event in received if isinstance(event, TaskRenamed)] == ["Buy milk"]
    for event in received:
        assert TaskEvent.from_dict(event.as_dict()) == event


async def test_who_looks_late_receives_what_is_true_then(memory: Tasks, positions: MemoryPositions) -> None:
    ada = memory.of("ada")
    milk, bread, eggs, tea = [(await ada.create(title)).task for title in ("milk", "bread", "eggs", "tea")]
    await ada.complete(milk.id)
    await ada.delete(bread.id)
    assert told(await rest(memory, positions)) == [
        ("created", "eggs"),
        ("created", "tea"),
        ("created", "milk"),
        ("completed", "milk"),
    ]
    await ada.update(milk.id, TaskChange(title="oat milk", is_completed=False))
    await ada.update(eggs.id, TaskChange(title="six eggs"))
    await ada.update(eggs.id, TaskChange(title="eggs"))
    await ada.complete(tea.id)
    await ada.delete(tea.id)
    await ada.delete((await ada.create("bread")).task.id)
    events = await rest(memory, positions)
    assert told(events) == [("renamed", "oat milk"), ("reopened", "oat milk"), ("deleted", "tea")]
    assert [(event.version, event.part) for event in events] == [(7, 0), (7, 1), (11, 0)]


@pytest.mark.parametrize("user_ids", [None, ["ada", "grace", "zoë", "ada", "nobody"]])
async def test_users_and_changes_are_read_in_pages(
    memory: Tasks,
    positions: MemoryPositions,
    repository: MemoryTaskRepository,
    monkeypatch: pytest.MonkeyPatch,
    user_ids: Collection[str] | None,
) -> None:
    monkeypatch.setattr(follow_events, "USERS_PER_PAGE", 2)
    monkeypatch.setattr(follow_events, "MAX_PAGE_SIZE", 2)
    users = ["ada", "grace", "zoë"] if user_ids else ["Ada", "ada", "grace", "zoë", "\U0001f600"]
    for user in ["Ada", "ada", "grace", "zoë", "\U0001f600"]:
        for n in range(5):
            await memory.of(user).create(f"{n}")
    consumer = Consumer()
    async for event in memory.follow(positions, user_ids=user_ids, wait=False):
        consumer.note(event)
    assert consumer.copy == await lists(repository, {*users})
    assert [user for user, _ in [*consumer.events][::5]] == users


async def test_an_event_that_was_received_last_comes_again_unchanged(memory: Tasks, positions: MemoryPositions) -> None:
    ada = memory.of("ada")
    milk = (await ada.create("milk")).task
    await ada.create("bread")
    for _ in range(2):
        async with aclosing(ada.follow(positions)) as events:
            first = await following(events)
        assert told([first]) == [("created", "milk")]
        await ada.update(milk.id, TaskChange(title="oat milk"))
    async with aclosing(ada.follow(positions)) as events:
        again, *others = [await following(events) for _ in range(3)]
    assert again == first
    assert told(others) == [("created", "bread"), ("renamed", "oat milk")]
    assert told(await rest(memory, positions)) == [("renamed", "oat milk")]
    assert await rest(memory, positions) == []


@pytest.mark.parametrize("user_ids", [None, ["ada", "grace"]])
async def test_writes_of_the_same_process_come_at_once(
    memory: Tasks,
    positions: MemoryPositions,
    repository: MemoryTaskRepository,
    monkeypatch: pytest.MonkeyPatch,
    user_ids: Collection[str] | None,
) -> None:
    async with aclosing(memory.follow(positions, user_ids=user_ids, poll_seconds=3600)) as events:
        for n in range(3):
            waiting = asyncio.create_task(following(events))
            await asyncio.sleep(0)
            monkeypatch.setattr(repository, "all_states", None)  # not read again
            if user_ids:
                await memory.of("alan").create("not wanted")
            task = (await memory.of("grace").create(f"{n}")).task
            assert (await waiting).task_id == task.id


async def test_writes_of_other_processes_come_by_polling(
    memory: Tasks, positions: MemoryPositions, repository: MemoryTaskRepository
) -> None:
    other = use_cases(repository)
    async with aclosing(memory.follow(positions, poll_seconds=0.01)) as events:
        for n in range(3):
            waiting = asyncio.create_task(following(events))
            await asyncio.sleep(0)
            task = (await other.of("ada").create(f"{n}")).task
            assert (await waiting).task_id == task.id


async def test_a_process_that_writes_all_the_time_notices_others(
    memory: Tasks, positions: MemoryPositions, repository: MemoryTaskRepository
) -> None:
    async with aclosing(memory.follow(positions, poll_seconds=0.05)) as events:
        await memory.of("grace").create("own")
        await following(events)
        await use_cases(repository).of("ada").create("of another process")
        user_id = "grace"
        while user_id == "grace":
            await memory.of("grace").create("own")
            user_id = (await following(events)).user_id


async def test_an_unavailable_storage_delays_what_has_begun(
    memory: Tasks, positions: MemoryPositions, repository: MemoryTaskRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*, after: str, limit: int) -> dict[str, State]:
        raise StorageUnavailable

    async with aclosing(memory.follow(positions, poll_seconds=0.01)) as events:
        await memory.of("ada").create("milk")
        await following(events)
        with monkeypatch.context() as patch:
            patch.setattr(repository, "all_states", unavailable)
            waiting = asyncio.create_task(following(events))
            await asyncio.sleep(0.05)
            for wait in (True, False):
                with pytest.raises(StorageUnavailable):
                    await following(memory.follow(positions, wait=wait))
            assert not waiting.done()
        await use_cases(repository).of("ada").create("bread")
        assert (await waiting).title == "bread"


async def test_a_store_is_for_one_follower_at_a_time(memory: Tasks, positions: MemoryPositions) -> None:
    await memory.of("ada").create("milk")
    one, two = [memory.follow(positions, wait=False) for _ in range(2)]
    async with aclosing(one), aclosing(two):
        assert await following(one) == await following(two)
        assert [event async for event in one] == []
        with pytest.raises(PositionsInUse):
            await following(two)


async def test_a_follower_that_leaves_listens_no_more(memory: Tasks, positions: MemoryPositions) -> None:
    await memory.of("ada").create("milk")
    async with aclosing(memory.follow(positions)) as events:
        await following(events)
        assert len(memory.follow.signal._write_listeners) == 1
    assert not memory.follow.signal._write_listeners


async def test_an_id_that_no_user_has_is_rejected(memory: Tasks, positions: MemoryPositions) -> None:
    with pytest.raises(InvalidText):
        await following(memory.of("").follow(positions))
