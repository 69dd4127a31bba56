"""The use-cases, as another Python service calls them: no HTTP, no container, no database."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import (
    CompleteTask,
    CreateTask,
    DeleteTask,
    GetTask,
    InvalidPage,
    ListTasks,
    NotOwner,
    PageRequest,
    TaskContended,
    TaskNotFound,
    TaskRepository,
    UpdateTask,
    VersionConflict,
    Written,
)
from application.attempts import MAX_ATTEMPTS
from domain import InvalidText, Task, TaskChange, TaskDraft

MILK, TEA = TaskDraft(title="Buy milk"), TaskChange(title=" Buy tea ")
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@dataclass
class ManualClock:
    """A clock that advances a second at each call."""

    time: datetime = field(default=NOW)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


class UseCases:
    def __init__(self, tasks: TaskRepository) -> None:
        clock = ManualClock()
        self.create = CreateTask(tasks=tasks, clock=clock, ids=Uuid7Ids())
        self.get = GetTask(tasks=tasks)
        self.list = ListTasks(tasks=tasks)
        self.update_task = UpdateTask(tasks=tasks, clock=clock)
        self.complete_task = CompleteTask(tasks=tasks, clock=clock)
        self.delete = DeleteTask(tasks=tasks, clock=clock)

    async def add(self, draft: TaskDraft = MILK, user: str = "ada") -> Task:
        return (await self.create(actor=user, user_id=user, draft=draft)).task

    async def update(self, **named: Any) -> Task:
        return (await self.update_task(**named)).task

    async def complete(self, **named: Any) -> Task:
        return (await self.complete_task(**named)).task


@pytest.fixture
def use(tasks: TaskRepository) -> UseCases:
    return UseCases(tasks)


async def test_created_tasks_are_listed(use: UseCases) -> None:
    made = [await use.add(TaskDraft(title=title)) for title in ("one", " two ", "three")]
    await use.add(user="grace")
    page = await use.list(actor="ada", user_id="ada")
    assert page.tasks == tuple(reversed(made))
    assert [task.title for task in page.tasks] == ["three", "two", "one"]
    assert not any(task.is_completed for task in page.tasks)
    assert await use.get(actor="ada", user_id="ada", task_id=made[0].id) == made[0]


async def test_update_changes_the_given_fields_only(use: UseCases) -> None:
    task = await use.add()
    renamed = await use.update(actor="ada", user_id="ada", task_id=task.id, change=TEA)
    assert (renamed.title, renamed.is_completed, renamed.version) == ("Buy tea", False, 2)
    assert renamed.updated_at > task.updated_at
    done = await use.update(actor="ada", user_id="ada", task_id=task.id, change=TaskChange(is_completed=True))
    assert done.completed_at == done.updated_at > renamed.updated_at
    again = TaskChange(title="Buy tea", is_completed=True)
    same = await use.update(actor="ada", user_id="ada", task_id=task.id, change=again)
    assert same == done
    back = TaskChange(title="Buy milk", is_completed=False)
    both = await use.update(actor="ada", user_id="ada", task_id=task.id, change=back)
    assert (both.title, both.completed_at, both.version) == ("Buy milk", None, 4)


async def test_completing_again_keeps_the_first_completion(use: UseCases) -> None:
    task = await use.add()
    done = await use.complete(actor="ada", user_id="ada", task_id=task.id)
    assert await use.complete(actor="ada", user_id="ada", task_id=task.id) == done
    assert await use.get(actor="ada", user_id="ada", task_id=task.id) == done


async def test_a_deleted_task_is_not_found(use: UseCases) -> None:
    task = await use.add()
    await use.delete(actor="ada", user_id="ada", task_id=task.id)
    with pytest.raises(TaskNotFound):
        await use.get(actor="ada", user_id="ada", task_id=task.id)
    with pytest.raises(TaskNotFound):
        await use.delete(actor="ada", user_id="ada", task_id=task.id)


async def test_an_expected_version_makes_every_write_conditional(use: UseCases) -> None:
    task = await use.add()
    here = {"actor": "ada", "user_id": "ada", "task_id": task.id}
    stale, fresh = {"expected_version": 7}, {"expected_version": 1}
    for write in (
        use.update(**here, **stale, change=TEA),
        use.update(**here, **stale, change=TaskChange(title=task.title)),
        use.complete(**here, **stale),
        use.delete(**here, **stale),  # type: ignore[arg-type]
    ):
        with pytest.raises(VersionConflict):
            await write
    assert (await use.update(**here, **fresh, change=TEA)).version == 2


@pytest.mark.parametrize("user_id", ["grace", "Ada", "ada ", "", "ada\u0301"])
@pytest.mark.parametrize("exists", [True, False])
async def test_another_user_is_rejected_before_anything_is_read(use: UseCases, user_id: str, exists: bool) -> None:
    task = await use.add()
    task_id = task.id if exists else uuid4()
    for call in (
        use.list(actor=user_id or "eve", user_id="ada"),
        use.create(actor=user_id or "eve", user_id="ada", draft=MILK),
        use.get(actor=user_id or "eve", user_id="ada", task_id=task_id),
        use.update(actor=user_id or "eve", user_id="ada", task_id=task_id, change=TEA),
        use.complete(actor=user_id or "eve", user_id="ada", task_id=task_id),
        use.delete(actor=user_id or "eve", user_id="ada", task_id=task_id),
    ):
        with pytest.raises(NotOwner):
            await call
    assert await use.get(actor="ada", user_id="ada", task_id=task.id) == task


async def test_an_actor_must_be_a_valid_user_id(use: UseCases) -> None:
    with pytest.raises(InvalidText) as error:
        await use.list(actor="", user_id="")
    assert error.value.code == "user_id_empty"


@pytest.mark.parametrize("limit", [0, -1, 501, True, 1.0, "50", None])
def test_a_page_has_1_to_500_tasks(limit: int) -> None:
    with pytest.raises(InvalidPage):
        PageRequest(limit=limit)
    assert [PageRequest(limit=ok).limit for ok in (1, 500)] == [1, 500]


def test_the_text_of_a_search_is_named_as_the_argument() -> None:
    with pytest.raises(InvalidText, match=r"^The text must not be empty\.$") as error:
        PageRequest(text="")
    assert (error.value.code, error.value.field) == ("text_empty", "text")


async def test_20_concurrent_completes_agree_on_one_completion(use: UseCases) -> None:
    task = await use.add()
    done = await asyncio.gather(*(use.complete(actor="ada", user_id="ada", task_id=task.id) for _ in range(20)))
    assert len({(answer.completed_at, answer.version) for answer in done}) == 1


async def test_20_concurrent_updates_all_happen_one_after_the_other(use: UseCases) -> None:
    task = await use.add()
    answers = await asyncio.gather(
        *(
            use.update(actor="ada", user_id="ada", task_id=task.id, change=TaskChange(title=f"title {n}"))
            for n in range(20)
        )
    )
    assert {answer.title for answer in answers} == {f"title {n}" for n in range(20)}
    assert len({answer.version for answer in answers}) == 20
    assert len({answer.updated_at for answer in answers}) == 20
    final = await use.get(actor="ada", user_id="ada", task_id=task.id)
    assert final == max(answers, key=lambda answer: answer.version)


class AlwaysBeaten(MemoryTaskRepository):
    """A repository in which another writer always saves first."""

    attempts = 0

    async def save(self, task: Task) -> Written[Task]:
        self.attempts += 1
        faster = TaskChange(title=f"beaten {self.attempts}")
        await super().save(task.apply(faster, now=task.updated_at))
        return await super().save(task)


async def test_an_update_that_always_conflicts_raises_task_contended() -> None:
    tasks = AlwaysBeaten()
    use = UseCases(tasks)
    task = await use.add()
    with pytest.raises(TaskContended):
        await use.update(actor="ada", user_id="ada", task_id=task.id, change=TEA)
    assert tasks.attempts == MAX_ATTEMPTS
    with pytest.raises(VersionConflict):
        await use.update(actor="ada", user_id="ada", task_id=task.id, change=TEA, expected_version=MAX_ATTEMPTS + 1)
    assert tasks.attempts == MAX_ATTEMPTS + 1


async def test_the_system_adapters_implement_the_ports() -> None:
    create = CreateTask(tasks=MemoryTaskRepository(), clock=SystemClock(), ids=Uuid7Ids())
    task = (await create(actor="ada", user_id="ada", draft=MILK)).task
    assert isinstance(task.id, UUID)
    assert abs(datetime.now(UTC) - task.created_at) < timedelta(minutes=1)
