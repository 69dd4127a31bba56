"""Keyed writes while another writer changes the same task, or the storage fails."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import (
    NOTHING,
    Applied,
    CreateTask,
    DeleteTask,
    IdempotencyKeyReused,
    ListChanges,
    Once,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskContended,
    UpdateTask,
    VersionConflict,
)
from application.attempts import MAX_ATTEMPTS
from domain import TaskChange, TaskDraft
from hextasks.testing.contract.calls import LATER, a_task
from tests.application.test_use_cases import ManualClock

ONCE = Once(key="a key", fingerprint=b"")
HERE: Any = {"actor": "ada", "user_id": "ada"}
ID = UUID(int=7)


class Interfered(MemoryTaskRepository):
    """A repository in which something else happens before each of the first writes with a key."""

    def __init__(self, happens: Callable[[], Awaitable[object]] | None = None, *, times: int = 1) -> None:
        super().__init__()
        self.happens, self.times, self.attempts = happens or self.rename, times, 0

    async def rename(self) -> None:
        task = await self.get("ada", ID)
        await self.save(task.apply(TaskChange(is_completed=not task.is_completed), now=LATER))

    async def apply(self, user_id: str, writes: Any, *, now: datetime, **named: Any) -> Applied:
        self.attempts += 1
        if self.attempts <= self.times:
            await self.happens()
        return await super().apply(user_id, writes, now=now, **named)


class SameIds:
    def new(self) -> UUID:
        return ID


async def test_a_keyed_deletion_takes_the_newest_version_unless_one_is_expected() -> None:
    tasks = Interfered(times=3)
    await tasks.add(a_task(id=ID))
    delete = DeleteTask(tasks=tasks, clock=ManualClock())
    with pytest.raises(VersionConflict):
        await delete(**HERE, task_id=ID, expected_version=1, once=ONCE)
    with pytest.raises(VersionConflict):
        await delete(**HERE, task_id=ID, expected_version=1, once=ONCE)
    assert tasks.attempts == 1, "the second is rejected before it writes"
    deleted = await delete(**HERE, task_id=ID, once=ONCE)
    assert (tasks.attempts, deleted.state and deleted.state.number) == (4, 5)


async def test_a_keyed_write_gives_up_after_many_conflicts() -> None:
    tasks = Interfered(times=1000)
    await tasks.add(a_task(id=ID))
    with pytest.raises(TaskContended):
        await DeleteTask(tasks=tasks, clock=ManualClock())(**HERE, task_id=ID, once=ONCE)
    assert tasks.attempts == MAX_ATTEMPTS
    create = CreateTask(tasks=tasks, clock=ManualClock(), ids=Uuid7Ids())
    with pytest.raises(TaskContended):
        await create(**HERE, draft=TaskDraft(title="Buy milk"), task_id=ID, once=ONCE)


async def test_a_task_that_is_to_be_kept_may_change_meanwhile() -> None:
    tasks = Interfered(times=2)
    await tasks.add(a_task(id=ID))
    create = CreateTask(tasks=tasks, clock=ManualClock(), ids=Uuid7Ids())
    kept = await create(**HERE, draft=TaskDraft(title="Buy milk"), task_id=ID, once=ONCE)
    assert (kept.task.version, kept.task.is_completed, kept.state) == (3, False, None)


async def test_an_id_of_the_service_that_exists_is_no_task_to_be_kept() -> None:
    tasks = Interfered(times=0)
    await tasks.add(a_task(id=ID))
    create = CreateTask(tasks=tasks, clock=ManualClock(), ids=SameIds())
    with pytest.raises(TaskAlreadyExists):
        await create(**HERE, draft=TaskDraft(title="Buy milk"), once=ONCE)


async def test_an_unavailable_storage_is_not_asked_for_the_key() -> None:
    async def fails() -> None:
        raise StorageUnavailable

    tasks = Interfered(fails)
    create = CreateTask(tasks=tasks, clock=ManualClock(), ids=Uuid7Ids())
    with pytest.raises(StorageUnavailable):
        await create(**HERE, draft=TaskDraft(title="Buy milk"), once=ONCE)
    assert (await create(**HERE, draft=TaskDraft(title="Buy milk"), once=ONCE)).task.version == 1


async def test_a_key_of_another_kind_of_write_is_rejected() -> None:
    tasks = Interfered(times=0)
    await tasks.add(a_task(id=ID))
    await DeleteTask(tasks=tasks, clock=ManualClock())(**HERE, task_id=ID, once=ONCE)
    with pytest.raises(IdempotencyKeyReused):
        await UpdateTask(tasks=tasks, clock=ManualClock())(
            **HERE, task_id=ID, change=TaskChange(title="Buy tea"), once=ONCE
        )


async def test_each_change_of_a_page_has_a_state_to_go_on_from() -> None:
    tasks = MemoryTaskRepository()
    for n in range(6):
        await tasks.add(a_task(str(n)))
    everything = (await ListChanges(tasks=tasks)(**HERE)).changes
    for since, limit in ((None, 4), (None, 6), ((await tasks.changes("ada", since=NOTHING, limit=2)).next, 3)):
        page = await ListChanges(tasks=tasks)(**HERE, since=since, limit=limit)
        for change, state in page.steps(since or NOTHING):
            rest = await ListChanges(tasks=tasks)(**HERE, since=state)
            assert rest.changes == everything[everything.index(change) + 1 :]
