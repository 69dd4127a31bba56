"""The contract of the TaskRepository port for one task."""

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from hextasks import (
    InvalidTask,
    PageRequest,
    Task,
    TaskAlreadyExists,
    TaskChange,
    TaskNotFound,
    TaskRepository,
    VersionConflict,
)
from hextasks.testing.contract.calls import LATER, NOW, a_task, add, save, walk
from hextasks.testing.contract.case import RepositoryCase

MOMENTS = (datetime(2, 1, 1, microsecond=1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC))
"""At the ends of what a task may have."""


class TaskContract(RepositoryCase):
    """Adding, reading, saving and removing one task."""

    @pytest.mark.parametrize("title", ["x", "x" * 500, "\U0001f600" * 500, "e\u0301 \u200d \u2028 '; -- %s $1 \\"])
    async def test_every_field_survives_storage(self, tasks: TaskRepository, title: str) -> None:
        user_id = "auth0|ünï/çödé \U0001f600"
        stored = await add(tasks, a_task(title, user_id=user_id))
        done = await save(tasks, stored.apply(TaskChange(is_completed=True), now=LATER + timedelta(microseconds=1)))
        assert await tasks.get(user_id, stored.id) == done
        assert (await tasks.list(user_id, PageRequest())).tasks == (done,)
        assert done == Task(
            id=stored.id,
            user_id=user_id,
            title=title,
            created_at=NOW,
            updated_at=LATER + timedelta(microseconds=1),
            completed_at=LATER + timedelta(microseconds=1),
            version=2,
        )

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_times_are_in_utc_to_the_microsecond(self, tasks: TaskRepository, moment: datetime) -> None:
        task = a_task(now=moment)
        done = task.apply(TaskChange(is_completed=True), now=task.created_at)
        assert done.updated_at - done.created_at == datetime.resolution
        stored = await add(tasks, done)
        assert stored == replace(done, version=1)
        for found in (await tasks.get("ada", task.id), *(await tasks.list("ada", PageRequest())).tasks):
            assert found == stored
            for time in (found.created_at, found.updated_at, found.completed_at):
                assert time
                assert time.tzinfo is UTC

    async def test_each_user_may_use_an_id_once(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        with pytest.raises(TaskAlreadyExists):
            await tasks.add(a_task("another", id=task.id))
        assert await tasks.get("ada", task.id) == task
        assert (await add(tasks, a_task("grace's", user_id="grace", id=task.id))).version == 1
        assert await tasks.get("ada", task.id) == task

    async def test_a_missing_task_is_not_found(self, tasks: TaskRepository) -> None:
        mine = await add(tasks, a_task())
        for user_id, task_id in [("ada", uuid4()), ("grace", mine.id), ("Ada", mine.id), ("ada ", mine.id)]:
            with pytest.raises(TaskNotFound):
                await tasks.get(user_id, task_id)
            with pytest.raises(TaskNotFound):
                await tasks.save(replace(mine, user_id=user_id, id=task_id))
            for expected in (None, mine.version):
                with pytest.raises(TaskNotFound):
                    await tasks.remove(user_id, task_id, removed_at=LATER, expected_version=expected)
        assert await tasks.get("ada", mine.id) == mine

    @pytest.mark.parametrize("wrong", [str(UUID(int=7)), 7, None])
    async def test_an_id_of_another_type_is_rejected(self, tasks: TaskRepository, wrong: Any) -> None:
        task = await add(tasks, a_task())
        for call in (
            tasks.get("ada", wrong),
            tasks.get_many("ada", [task.id, wrong]),
            tasks.remove("ada", wrong, removed_at=LATER),
        ):
            with pytest.raises(InvalidTask) as rejected:
                await call
            assert (rejected.value.code, rejected.value.field) == ("id_not_uuid", "id")
        assert await tasks.get("ada", task.id) == task

    async def test_a_stale_save_changes_nothing(self, tasks: TaskRepository) -> None:
        read = await add(tasks, a_task())
        newer = await save(tasks, read.apply(TaskChange(title="Buy oat milk"), now=LATER))
        with pytest.raises(VersionConflict):
            await tasks.save(read.apply(TaskChange(title="Buy soy milk"), now=LATER))
        with pytest.raises(VersionConflict):
            await tasks.remove("ada", read.id, removed_at=LATER, expected_version=read.version)
        assert await tasks.get("ada", read.id) == newer
        assert newer.version == 2

    async def test_saving_keeps_the_creation(self, tasks: TaskRepository) -> None:
        stored = await add(tasks, a_task())
        moved = replace(stored, created_at=NOW - timedelta(days=1), updated_at=LATER, title="Moved")
        saved = await save(tasks, moved)
        assert saved.created_at == NOW
        assert await tasks.get("ada", stored.id) == saved

    async def test_a_removed_task_stays_removed(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        await tasks.remove("ada", task.id, removed_at=LATER, expected_version=task.version)
        with pytest.raises(TaskNotFound):
            await tasks.get("ada", task.id)
        with pytest.raises(TaskNotFound):
            await tasks.save(task.apply(TaskChange(title="Back"), now=LATER))
        with pytest.raises(TaskNotFound):
            await tasks.remove("ada", task.id, removed_at=LATER)
        assert await walk(tasks, "ada", 50) == []

    async def test_changing_what_was_handed_out_changes_nothing_inside(self, tasks: TaskRepository) -> None:
        given = a_task()
        stored = await add(tasks, given)
        for outside in (
            given,
            stored,
            await tasks.get("ada", stored.id),
            (await tasks.list("ada", PageRequest())).tasks[0],
        ):
            with pytest.raises(FrozenInstanceError):
                outside.title = "Changed behind the back"  # type: ignore[misc]
        assert (await tasks.get("ada", stored.id)).title == "Buy milk"
