"""The contract for many writes at once, and for idempotency keys."""

from dataclasses import replace

import pytest

from hextasks import (
    NOTHING,
    Applied,
    IdempotencyKeyReused,
    IdempotencyKeyUsed,
    Once,
    PageRequest,
    Removal,
    StateMismatch,
    Task,
    TaskAlreadyExists,
    TaskChange,
    TaskNotFound,
    TaskRepository,
    VersionConflict,
    Write,
    WritesRejected,
)
from hextasks.testing.contract.calls import LATER, NOW, a_task, add, purge, save, state_of, walk
from hextasks.testing.contract.case import RepositoryCase

ONCE = Once(key="a key", fingerprint=b"what was asked for")


def renamed(task: Task, title: str = "Buy tea") -> Task:
    """Return the task with another title."""
    return task.apply(TaskChange(title=title), now=LATER)


async def apply(
    tasks: TaskRepository, *writes: tuple[str, Task], once: Once | None = None, if_state: object = None
) -> Applied:
    """Apply writes to ada's tasks."""
    made = [Write(kind=kind, task=task) for kind, task in writes]  # type: ignore[arg-type]
    return await tasks.apply("ada", made, now=LATER, once=once, if_state=if_state)  # type: ignore[arg-type]


class KeyContract(RepositoryCase):
    """Idempotency keys."""

    async def test_the_outcome_is_stored_with_the_writes(self, tasks: TaskRepository) -> None:
        saved, removed, kept = [await add(tasks, a_task(f"{n} ä", now=LATER)) for n in range(3)]
        done = saved.apply(TaskChange(is_completed=True), now=LATER)
        writes = [("add", a_task("'\"\\ \U0001f600")), ("save", done), ("remove", removed), ("keep", kept)]
        applied = await apply(tasks, *writes, once=ONCE)
        for task in (await walk(tasks, "ada", 9))[::2]:
            await tasks.remove("ada", task.id, removed_at=LATER)
        assert await tasks.recall("ada", ONCE) == replace(applied, is_replayed=True)
        assert await tasks.recall("grace", ONCE) is None
        assert await tasks.recall("ada", replace(ONCE, key="another")) is None
        with pytest.raises(IdempotencyKeyReused):
            await tasks.recall("ada", replace(ONCE, fingerprint=b"something else"))

    async def test_a_used_key_prevents_the_writes(self, tasks: TaskRepository) -> None:
        await apply(tasks, ("add", a_task()), once=ONCE)
        for once in (ONCE, replace(ONCE, fingerprint=b"something else")):
            with pytest.raises(IdempotencyKeyUsed):
                await apply(tasks, ("add", a_task()), once=once)
        assert len(await walk(tasks, "ada", 9)) == (await state_of(tasks)).number == 1
        hers = [Write(kind="add", task=a_task(user_id="grace"))]
        assert (await tasks.apply("grace", hers, now=NOW, once=ONCE)).state.number == 1

    async def test_an_outcome_without_a_change_is_stored_too(self, tasks: TaskRepository) -> None:
        kept = await add(tasks, a_task())
        applied = await apply(tasks, ("keep", kept), once=ONCE)
        await tasks.save(renamed(kept))
        assert await tasks.recall("ada", ONCE) == replace(applied, is_replayed=True)

    async def test_old_ones_are_purged(self, tasks: TaskRepository) -> None:
        for n in range(5):
            await apply(tasks, ("add", a_task()), once=Once(key=str(n), fingerprint=b""))
        assert await purge(tasks, 1) == 0, "they were stored at that second"
        assert [await purge(tasks, 1.001, limit=2) for _ in range(4)] == [2, 2, 1, 0]
        assert await tasks.recall("ada", Once(key="0", fingerprint=b"")) is None
        assert (await apply(tasks, ("add", a_task()), once=Once(key="0", fingerprint=b"1"))).state.number == 6


class BatchContract(RepositoryCase):
    """Many writes at once, all or none."""

    async def test_writes_take_numbers_in_their_order_and_keep_takes_none(self, tasks: TaskRepository) -> None:
        saved, removed, kept = [await add(tasks, a_task(str(n))) for n in range(3)]
        first, last = a_task("first", now=NOW), a_task("ästhetisch", now=LATER)
        before = await state_of(tasks)
        applied = await apply(
            tasks, ("add", first), ("keep", kept), ("remove", removed), ("save", renamed(saved)), ("add", last)
        )
        results = (
            replace(first, version=4),
            kept,
            Removal(id=removed.id, version=5),
            replace(renamed(saved), version=6),
            replace(last, version=7),
        )
        assert applied == Applied(results=results, state=replace(before, number=7), has_changed=True)
        listed = await walk(tasks, "ada", 2)
        assert {task for task in results if isinstance(task, Task)} == {*listed}
        assert (await tasks.changes("ada", since=before, limit=9)).changes == tuple(r for r in results if r != kept)
        assert (await tasks.list("ada", PageRequest(text="ÄST"))).tasks == (results[4],)
        same = await apply(tasks, ("keep", kept))
        assert same == Applied(results=(kept,), state=applied.state, has_changed=False)

    async def test_each_write_at_fault_is_named_and_none_is_carried_out(self, tasks: TaskRepository) -> None:
        stale, gone, good = [await add(tasks, a_task(str(n))) for n in range(3)]
        newer = await save(tasks, renamed(stale))
        await tasks.remove("ada", gone.id, removed_at=LATER)
        state, everything = await state_of(tasks), await walk(tasks, "ada", 9)
        with pytest.raises(WritesRejected) as rejected:
            await apply(
                tasks,
                ("save", renamed(good)),
                ("save", renamed(stale, "lost")),
                ("remove", stale),
                ("keep", stale),
                ("save", renamed(gone)),
                ("keep", gone),
                ("add", a_task(id=good.id)),
                ("add", a_task(id=gone.id)),
                ("add", a_task()),
                ("remove", a_task(user_id="grace")),
                once=ONCE,
            )
        errors = rejected.value.errors
        assert {place: type(error) for place, error in errors.items()} == {
            **dict.fromkeys((1, 2, 3), VersionConflict),
            **dict.fromkeys((4, 5, 9), TaskNotFound),
            **dict.fromkeys((6, 7), TaskAlreadyExists),
        }
        assert {vars(errors[place])["current_version"] for place in (1, 2, 3)} == {newer.version}
        assert await state_of(tasks) == state
        assert await walk(tasks, "ada", 9) == everything
        assert await tasks.recall("ada", ONCE) is None
        assert (await apply(tasks, ("save", renamed(good)), once=ONCE)).state.number == state.number + 1

    async def test_a_required_state(self, tasks: TaskRepository) -> None:
        for wrong in (replace(NOTHING, epoch=1), replace(NOTHING, number=1)):
            with pytest.raises(StateMismatch):
                await apply(tasks, ("add", a_task()), if_state=wrong)
        made = a_task()
        first = await apply(tasks, ("add", made), if_state=NOTHING)
        assert first.state.number == 1
        for wrong in (NOTHING, replace(first.state, number=2), replace(first.state, epoch=first.state.epoch ^ 1)):
            for write in (("add", a_task()), ("keep", replace(made, version=1)), ("save", renamed(made))):
                with pytest.raises(StateMismatch):
                    await apply(tasks, write, if_state=wrong, once=ONCE)
        assert await tasks.recall("ada", ONCE) is None
        assert (await apply(tasks, ("keep", replace(made, version=1)), if_state=first.state)).state == first.state
        assert (await apply(tasks, ("add", a_task()), if_state=first.state)).state == replace(first.state, number=2)

    async def test_get_many_returns_those_that_exist(self, tasks: TaskRepository) -> None:
        made = [await add(tasks, a_task()) for _ in range(3)]
        hers = await add(tasks, a_task(user_id="grace"))
        await tasks.remove("ada", made[0].id, removed_at=LATER)
        ids = [task.id for task in (*made, hers, a_task())]
        assert await tasks.get_many("ada", ids) == {task.id: task for task in made[1:]}
        assert await tasks.get_many("ada", []) == {}
        assert await tasks.get_many("alan", ids) == {}
