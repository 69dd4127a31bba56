"""Events where changes are not known completely: all tasks of a user are compared with what was seen."""

from collections.abc import Awaitable, Callable

import pytest

from adapters.memory import MemoryTaskRepository
from adapters.positions import MemoryPositions
from application import ChangePage, State, Tasks, follow_events
from domain import TaskChange
from tests.application.consumers import rest, told


@pytest.mark.parametrize("restore", [False, True], ids=["purged", "restored"])
async def test_renamed_completed_and_deleted_tasks_are_found(
    memory: Tasks, positions: MemoryPositions, repository: MemoryTaskRepository, restore: bool
) -> None:
    ada = memory.of("ada")
    milk, bread, eggs = [(await ada.create(title)).task for title in ("milk", "bread", "eggs")]
    await rest(memory, positions)
    await ada.delete(bread.id)
    await ada.complete(eggs.id)
    await ada.update(milk.id, TaskChange(title="oat milk"))
    if restore:
        repository._users["ada"].epoch ^= 1
    else:
        assert await memory.purge() == 1
    events = await rest(memory, positions)
    assert told(events) == [("completed", "eggs"), ("renamed", "oat milk"), ("deleted", "bread")]
    assert [(event.version, event.part) for event in events] == [(6, 0), (6, 1), (6, 2)]
    assert {event.epoch for event in events} == {repository._users["ada"].epoch}
    del repository._users["ada"]  # as in a backup from before the first task
    events = await rest(memory, positions)
    assert told(events) == [("deleted", "oat milk"), ("deleted", "eggs")]
    assert [(event.version, event.part) for event in events] == [(7, 0), (7, 1)]
    assert await rest(memory, positions) == []


async def test_tasks_that_change_between_the_pages(
    memory: Tasks, positions: MemoryPositions, repository: MemoryTaskRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was read is deleted, and its deletion is purged; so all is read again."""
    monkeypatch.setattr(follow_events, "MAX_PAGE_SIZE", 2)
    ada = memory.of("ada")
    made = [(await ada.create(f"{n}")).task for n in range(6)]
    await rest(memory, positions)
    repository._users["ada"].epoch ^= 1
    before_each_page: list[Callable[[], Awaitable[object]]] = [
        lambda: ada.complete(made[4].id),  # the first page, of the changes since
        lambda: ada.complete(made[5].id),  # the first page of all tasks
        lambda: ada.delete(made[0].id),
        memory.purge,
        lambda: ada.update(made[1].id, TaskChange(title="one")),
        lambda: ada.delete(made[2].id),
    ]
    changes = repository.changes

    async def interrupted(user_id: str, *, since: State, limit: int) -> ChangePage:
        if before_each_page:
            await before_each_page.pop(0)()
        return await changes(user_id, since=since, limit=limit)

    monkeypatch.setattr(repository, "changes", interrupted)
    events = await rest(memory, positions)
    assert not before_each_page
    assert sorted(told(events)) == [
        ("completed", "4"),
        ("completed", "5"),
        ("deleted", "0"),
        ("deleted", "2"),
        ("renamed", "one"),
    ]
    assert [(event.version, event.part) for event in events] == [(11, part) for part in range(5)]
