"""Many operations in one call."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import (
    Applied,
    ApplyBatch,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    InvalidBatch,
    NotOwner,
    Operation,
    Removal,
    StateMismatch,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
    TaskRepository,
    VersionConflict,
    WritesRejected,
)
from application.attempts import MAX_ATTEMPTS
from application.update_task import COMPLETION
from domain import Task, TaskChange, TaskDraft
from hextasks.testing.contract.calls import LATER, a_task, add, state_of, walk
from tests.application.test_use_cases import ManualClock

TEA = TaskChange(title="Buy tea")


def draft(title: str = "Buy milk") -> TaskDraft:
    return TaskDraft(title=title)


async def apply(tasks: TaskRepository, *operations: Operation, **named: Any) -> Applied:
    batch = ApplyBatch(tasks=tasks, clock=ManualClock(), ids=Uuid7Ids())
    return await batch(actor="ada", user_id="ada", operations=operations, **named)


async def errors(tasks: TaskRepository, *operations: Operation) -> Mapping[int, Any]:
    with pytest.raises(WritesRejected) as rejected:
        await apply(tasks, *operations)
    return rejected.value.errors


async def test_results_are_in_the_order_of_the_operations(tasks: TaskRepository) -> None:
    changed, completed, deleted, done = [await add(tasks, a_task(str(n))) for n in range(4)]
    done = (await tasks.save(done.apply(COMPLETION, now=LATER))).task
    own_id = uuid4()
    applied = await apply(
        tasks,
        CreateOperation(draft=draft("new")),
        DeleteOperation(task_id=deleted.id, expected_version=3),
        ChangeOperation(task_id=done.id, change=COMPLETION),
        CreateOperation(draft=draft("own"), task_id=own_id),
        ChangeOperation(task_id=changed.id, change=TEA, expected_version=1),
        ChangeOperation(task_id=completed.id, change=COMPLETION),
    )
    new, removal, same, own, tea, complete = applied.results
    assert [result.version for result in applied.results] == [6, 7, 5, 8, 9, 10]
    assert removal == Removal(id=deleted.id, version=7)
    assert same == done
    assert own.id == own_id
    assert isinstance(tea, Task)
    assert tea.title == "Buy tea"
    assert isinstance(complete, Task)
    assert complete.is_completed
    assert {*await walk(tasks, "ada", 9)} == {new, same, own, tea, complete}
    assert applied.state == await state_of(tasks)
    assert applied.state.number == 10


async def test_a_rejected_batch_names_every_operation_at_fault(tasks: TaskRepository) -> None:
    mine, gone = [await add(tasks, a_task(str(n))) for n in range(2)]
    await tasks.remove("ada", gone.id, removed_at=LATER)
    hers = await add(tasks, a_task(user_id="grace"))
    before = await state_of(tasks), await walk(tasks, "ada", 9)
    found = await errors(
        tasks,
        CreateOperation(draft=draft()),
        ChangeOperation(task_id=hers.id, change=TEA),
        ChangeOperation(task_id=mine.id, change=TEA, expected_version=7),
        DeleteOperation(task_id=gone.id),
    )
    assert {place: type(error) for place, error in found.items()} == {
        1: TaskNotFound,
        2: VersionConflict,
        3: TaskNotFound,
    }
    assert found[2].current_version == 1
    assert (await state_of(tasks), await walk(tasks, "ada", 9)) == before


async def test_a_task_that_exists_with_the_same_title_is_kept(tasks: TaskRepository) -> None:
    same, other, gone = [await add(tasks, a_task(title)) for title in ("Buy milk", "other", "Buy milk")]
    await tasks.remove("ada", gone.id, removed_at=LATER)
    new = CreateOperation(draft=draft("new"))
    applied = await apply(tasks, new, CreateOperation(draft=draft(), task_id=same.id))
    assert applied.results[1] == same
    assert applied.state.number == 5
    alone = await apply(tasks, CreateOperation(draft=draft(), task_id=same.id))
    assert (alone.results, alone.has_changed) == ((same,), False)
    for task in (other, gone):
        found = await errors(tasks, new, CreateOperation(draft=draft(), task_id=task.id))
        assert {place: type(error) for place, error in found.items()} == {1: TaskAlreadyExists}
    found = await errors(tasks, *(CreateOperation(draft=draft(), task_id=i) for i in (other.id, same.id, gone.id)), new)
    assert {place: type(error) for place, error in found.items()} == {0: TaskAlreadyExists, 2: TaskAlreadyExists}
    assert (await state_of(tasks)).number == 5


async def test_a_required_state_is_judged_first(tasks: TaskRepository) -> None:
    state = (await apply(tasks, CreateOperation(draft=draft()))).state
    newer = (await apply(tasks, CreateOperation(draft=draft()), if_state=state)).state
    for operation in (CreateOperation(draft=draft()), DeleteOperation(task_id=uuid4())):
        with pytest.raises(StateMismatch):
            await apply(tasks, operation, if_state=state)
    with pytest.raises(WritesRejected):
        await apply(tasks, DeleteOperation(task_id=uuid4()), if_state=newer)
    assert await state_of(tasks) == newer


async def test_what_is_rejected_before_anything_is_read(tasks: TaskRepository) -> None:
    own_id, create = uuid4(), CreateOperation(draft=draft())
    with pytest.raises(NotOwner):
        await ApplyBatch(tasks=tasks, clock=ManualClock(), ids=Uuid7Ids())(
            actor="grace", user_id="ada", operations=[create]
        )
    for count in (0, 101):
        with pytest.raises(InvalidBatch) as size:
            await apply(tasks, *[create] * count)
        assert (size.value.code, size.value.field) == ("batch_size_out_of_range", "operations")
    with pytest.raises(InvalidBatch) as repeated:
        await apply(tasks, create, DeleteOperation(task_id=own_id), CreateOperation(draft=draft(), task_id=own_id))
    assert (repeated.value.code, repeated.value.field) == ("task_repeated", "operations/1/id")
    assert len((await apply(tasks, *[create] * 100)).results) == 100


async def test_concurrent_batches_without_versions_all_happen(tasks: TaskRepository) -> None:
    made = [await add(tasks, a_task(str(n))) for n in range(5)]
    batches = [
        [
            ChangeOperation(task_id=task.id, change=TaskChange(title=f"batch {n}"))
            for task in made[:: 1 if n % 2 else -1]
        ]
        for n in range(10)
    ]
    applied = await asyncio.gather(*(apply(tasks, *operations) for operations in batches))
    assert all(each.has_changed for each in applied)
    numbers = sorted(result.version for each in applied for result in each.results)
    assert numbers == [*range(6, 6 + 50)]
    last = max(applied, key=lambda each: each.state.number)
    assert {*last.results} == {*await walk(tasks, "ada", 9)}


@dataclass
class Interrupted(MemoryTaskRepository):
    """A repository in which another writer renames a task before each batch."""

    task_id: UUID = field(default_factory=uuid4)
    attempts: int = 0
    until: int = MAX_ATTEMPTS

    def __post_init__(self) -> None:
        super().__init__()

    async def apply(self, user_id: str, writes: Any, *, now: datetime, **named: Any) -> Applied:
        self.attempts += 1
        if self.attempts <= self.until:
            task = await self.get(user_id, self.task_id)
            await self.save(task.apply(TaskChange(title=f"faster {self.attempts}"), now=now))
        return await super().apply(user_id, writes, now=now, **named)


async def test_a_batch_is_tried_again_while_others_change_its_tasks() -> None:
    tasks = Interrupted(until=3)
    await tasks.add(a_task(id=tasks.task_id))
    change = ChangeOperation(task_id=tasks.task_id, change=COMPLETION)
    applied = await apply(tasks, change, CreateOperation(draft=draft()))
    assert tasks.attempts == 4
    assert (await tasks.get("ada", tasks.task_id)).title == "faster 3"
    assert [result.version for result in applied.results] == [5, 6]
    tasks.until = tasks.attempts + MAX_ATTEMPTS
    with pytest.raises(TaskContended):
        await apply(tasks, ChangeOperation(task_id=tasks.task_id, change=TEA))
    assert tasks.attempts == 4 + MAX_ATTEMPTS
    version = (await tasks.get("ada", tasks.task_id)).version
    tasks.until = tasks.attempts + 1
    named = ChangeOperation(task_id=tasks.task_id, change=TEA, expected_version=version)
    found = await errors(tasks, CreateOperation(draft=draft()), named)
    assert found[1].current_version == version + 1


class Overtaken(MemoryTaskRepository):
    """A repository in which another writer adds a task before the first batch."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task: Task | None = task

    async def apply(self, user_id: str, writes: Any, *, now: datetime, **named: Any) -> Applied:
        if self.task:
            task, self.task = self.task, None
            await self.add(task)
        return await super().apply(user_id, writes, now=now, **named)


async def test_a_task_that_another_writer_creates_meanwhile_is_kept() -> None:
    task = a_task(id=uuid4())
    tasks = Overtaken(task)
    deleted = await add(tasks, a_task("to be deleted"))
    operations = CreateOperation(draft=draft(task.title), task_id=task.id), DeleteOperation(task_id=deleted.id)
    assert (await apply(tasks, *operations)).results == (task.stored(2), Removal(id=deleted.id, version=3))
