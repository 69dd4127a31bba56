"""Idempotency keys and ids of the client's own: a write that is sent again is carried out once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from adapters.ids import Uuid7Ids
from application import (
    ApplyBatch,
    ChangeOperation,
    ChangeSignal,
    CompleteTask,
    CreateOperation,
    CreateTask,
    DeleteOperation,
    DeleteTask,
    IdempotencyKeyReused,
    Once,
    Operation,
    State,
    TaskAlreadyExists,
    TaskNotFound,
    TaskRepository,
    UpdateTask,
    VersionConflict,
)
from domain import InvalidText, Task, TaskChange, TaskDraft
from hextasks.testing.contract.calls import LATER, a_task, add, state_of, walk
from tests.application.test_use_cases import ManualClock

MILK, TEA = TaskDraft(title="Buy milk"), TaskChange(title="Buy tea")
ONCE = Once(key="a key", fingerprint=b"what was asked for")
HERE: Any = {"actor": "ada", "user_id": "ada"}
OWN_ID = UUID(int=7)
WRITERS = ["create", "create with an id", "update", "complete", "delete", "batch", "batch that deletes"]
Writer = Callable[..., Awaitable[Any]]


class Recorder(ChangeSignal):
    """A signal that notes what is published."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[str, State | None]] = []

    def publish(self, user_id: str, state: State | None) -> None:
        self.published.append((user_id, state))


@pytest.fixture
def signal() -> Recorder:
    return Recorder()


@pytest.fixture
def writers(tasks: TaskRepository, signal: Recorder) -> dict[str, Writer]:
    """Every story that writes, by its name, on one task where it needs one."""
    clock, ids = ManualClock(), Uuid7Ids()
    create = CreateTask(tasks=tasks, clock=clock, ids=ids, signal=signal)
    update = UpdateTask(tasks=tasks, clock=clock, signal=signal)
    complete = CompleteTask(tasks=tasks, clock=clock, signal=signal)
    delete = DeleteTask(tasks=tasks, clock=clock, signal=signal)
    batch = ApplyBatch(tasks=tasks, clock=clock, ids=ids, signal=signal)

    def mixed(task: Task, **named: Any) -> Awaitable[Any]:
        operations: list[Operation] = [CreateOperation(draft=MILK), ChangeOperation(task_id=task.id, change=TEA)]
        return batch(**HERE, operations=operations, **named)

    return {
        "create": lambda _, **named: create(**HERE, draft=MILK, **named),
        "create with an id": lambda _, **named: create(**HERE, draft=MILK, task_id=OWN_ID, **named),
        "update": lambda task, **named: update(**HERE, task_id=task.id, change=TEA, **named),
        "complete": lambda task, **named: complete(**HERE, task_id=task.id, **named),
        "delete": lambda task, **named: delete(**HERE, task_id=task.id, **named),
        "batch": mixed,
        "batch that deletes": lambda task, **named: batch(
            **HERE, operations=[DeleteOperation(task_id=task.id)], **named
        ),
    }


async def everything(tasks: TaskRepository) -> object:
    return await state_of(tasks), await walk(tasks, "ada", 9)


@pytest.mark.parametrize("name", WRITERS)
class TestEveryWrite:
    async def test_a_repetition_gets_the_first_outcome_whatever_has_happened_since(
        self, tasks: TaskRepository, writers: dict[str, Writer], signal: Recorder, name: str
    ) -> None:
        write, task = writers[name], await add(tasks, a_task())
        first = await write(task, once=ONCE)
        assert not first.is_replayed
        assert signal.published == [("ada", first.state)]
        again = replace(first, is_replayed=True)
        assert await write(task, once=ONCE) == again
        for each in await walk(tasks, "ada", 9):
            renamed = await tasks.save(each.apply(TaskChange(title="since"), now=LATER))
            assert await write(task, once=ONCE) == again
            await tasks.remove("ada", renamed.task.id, removed_at=LATER)
            assert await write(task, once=ONCE) == again
        before = await everything(tasks)
        with pytest.raises(IdempotencyKeyReused):
            await write(task, once=replace(ONCE, fingerprint=b"something else"))
        assert await everything(tasks) == before
        assert len(signal.published) == 1

    async def test_of_concurrent_duplicates_one_is_carried_out(
        self, tasks: TaskRepository, writers: dict[str, Writer], signal: Recorder, name: str
    ) -> None:
        write, task = writers[name], await add(tasks, a_task())
        outcomes = await asyncio.gather(*(write(task, once=ONCE) for _ in range(10)))
        assert [outcome.is_replayed for outcome in outcomes].count(False) == 1
        assert len({replace(outcome, is_replayed=True) for outcome in outcomes}) == 1
        assert (await state_of(tasks)).number == 1 + (2 if name == "batch" else 1)
        assert len(signal.published) == 1

    async def test_without_a_key_each_change_is_published_once(
        self, tasks: TaskRepository, writers: dict[str, Writer], signal: Recorder, name: str
    ) -> None:
        written = await writers[name](await add(tasks, a_task()))
        assert signal.published == [("ada", written.state)]
        assert written.state == await state_of(tasks)


@pytest.mark.parametrize("name", ["update", "complete", "delete"])
async def test_a_repetition_is_recognized_before_its_version_is_judged(
    tasks: TaskRepository, writers: dict[str, Writer], name: str
) -> None:
    task = await add(tasks, a_task())
    first = await writers[name](task, once=ONCE, expected_version=1)
    assert await writers[name](task, once=ONCE, expected_version=1) == replace(first, is_replayed=True)
    with pytest.raises(TaskNotFound if name == "delete" else VersionConflict):
        await writers[name](task, once=replace(ONCE, key="another"), expected_version=1)
    assert await tasks.recall("ada", replace(ONCE, key="another")) is None, "errors are not stored"


async def test_what_changes_nothing_is_not_published_and_has_no_state(
    tasks: TaskRepository, writers: dict[str, Writer], signal: Recorder
) -> None:
    task = (await writers["complete"](await add(tasks, a_task()))).task
    del signal.published[:]
    for once in (None, ONCE):
        same = await writers["complete"](task, once=once)
        assert (same.task, same.state) == (task, None)
    assert signal.published == []
    await writers["update"](task)
    replayed = await writers["complete"](task, once=ONCE)
    assert (replayed.task, replayed.state, replayed.is_replayed) == (task, None, True)


@pytest.mark.parametrize("once", [None, ONCE])
class TestIdsOfTheClient:
    async def test_an_equal_task_is_returned_as_it_is(
        self, tasks: TaskRepository, writers: dict[str, Writer], once: Once | None
    ) -> None:
        first = await writers["create with an id"](None)
        assert (first.task.id, first.task.version) == (OWN_ID, 1)
        done = (await tasks.save(first.task.apply(TaskChange(is_completed=True), now=LATER))).task
        again = await writers["create with an id"](None, once=once)
        assert (again.task, again.state) == (done, None)

    async def test_another_title_and_a_deleted_task_are_rejected(
        self, tasks: TaskRepository, writers: dict[str, Writer], once: Once | None
    ) -> None:
        task = await add(tasks, a_task("another title", id=OWN_ID))
        with pytest.raises(TaskAlreadyExists):
            await writers["create with an id"](None, once=once)
        await tasks.remove("ada", task.id, removed_at=LATER)
        with pytest.raises(TaskAlreadyExists):
            await writers["create with an id"](None, once=once)
        assert (await state_of(tasks)).number == 2
        assert (await tasks.add(a_task(id=OWN_ID, user_id="grace"))).task.id == OWN_ID

    async def test_of_concurrent_ones_with_a_title_each_one_is_created(
        self, tasks: TaskRepository, once: Once | None
    ) -> None:
        create = CreateTask(tasks=tasks, clock=ManualClock(), ids=Uuid7Ids())
        calls = [
            create(**HERE, draft=TaskDraft(title=f"{n % 5}"), task_id=OWN_ID, once=once and replace(once, key=str(n)))
            for n in range(20)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        created = [each for each in outcomes if not isinstance(each, BaseException)]
        assert len(created) == 4
        assert [each.state is None for each in created].count(False) == 1
        assert {each.task for each in created} == {await tasks.get("ada", OWN_ID)}
        assert {type(each) for each in outcomes if isinstance(each, BaseException)} == {TaskAlreadyExists}


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_a_key_has_1_to_255_characters(key: str) -> None:
    with pytest.raises(InvalidText):
        Once(key=key, fingerprint=b"")
    Once(key="x" * 255, fingerprint=b"")
