"""The contract of the TaskRepository port for lists that move elsewhere, and for users who are forgotten."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from hextasks import (
    NOTHING,
    Once,
    PageRequest,
    StateExpired,
    Task,
    TaskChange,
    TaskNotFound,
    TaskRepository,
    Tasks,
    Write,
)
from hextasks.testing.builders import memory_tasks
from hextasks.testing.contract.calls import LATER, NOW, a_task, add, save, state_of, walk
from hextasks.testing.contract.case import RepositoryCase

LONG_AGO = NOW - timedelta(days=4000)
ONCE = Once(key="k", fingerprint=b"f")


def some_tasks(count: int, user_id: str = "ada") -> list[Task]:
    """Return tasks with other times, every third completed."""
    made = [a_task(f"Täsk {n}", user_id=user_id, now=LONG_AGO + timedelta(seconds=n % 7)) for n in range(count)]
    return [t.apply(TaskChange(is_completed=True), now=NOW) if n % 3 == 0 else t for n, t in enumerate(made)]


async def exported(tasks: Tasks, user_id: str = "ada") -> list[Task]:
    """Return the exported tasks without their versions."""
    return [replace(task, version=0) async for task in tasks.of(user_id).export()]


class MoveContract(RepositoryCase):
    """Export and import: what is exported is imported as it was."""

    async def test_a_list_that_was_imported_is_the_exported_one(self, tasks: TaskRepository) -> None:
        cases, given = memory_tasks(repository=tasks), some_tasks(601)
        first = await cases.of("ada").import_(given)
        assert (first.added, first.count, first.is_complete) == (601, 601, True)
        everything = await exported(cases)
        assert everything == sorted(given, key=lambda task: (task.created_at, task.id), reverse=True)
        state = await state_of(tasks)
        again = await cases.of("ada").import_(everything, replace=True)
        assert (again.unchanged, again.count, await state_of(tasks)) == (601, 601, state)
        other = await cases.of("grace").import_(everything[:10])
        assert other.added == 10
        assert await exported(cases, "grace") == [replace(task, user_id="grace") for task in everything[:10]]

    async def test_what_exists_with_other_values_is_kept_or_replaced(self, tasks: TaskRepository) -> None:
        cases, given = memory_tasks(repository=tasks), some_tasks(6)
        ada = cases.of("ada")
        same, renamed, deleted, reopened, newer, _ = [await add(tasks, task) for task in given[:5]] + [given[5]]
        await save(tasks, renamed.apply(TaskChange(title="Renamed here"), now=LATER))
        await tasks.remove("ada", deleted.id, removed_at=LATER)
        await save(tasks, reopened.apply(TaskChange(is_completed=False), now=LATER))
        given[4] = replace(given[4], created_at=LONG_AGO - timedelta(days=1))
        before = await exported(cases)
        kept = await ada.import_(given)
        assert (kept.added, kept.unchanged, kept.is_complete) == (1, 1, False)
        assert (kept.kept, kept.deleted) == ([renamed.id, reopened.id, newer.id], [deleted.id])
        assert {*await exported(cases)} == {*before, given[5]}
        replaced = await ada.import_(given, replace=True)
        assert (replaced.replaced, replaced.unchanged, replaced.kept) == (2, 2, [newer.id])
        assert replaced.deleted == [deleted.id]
        assert {*await exported(cases)} == {given[0], given[1], given[3], replace(newer, version=0), given[5]}
        assert (await tasks.get("ada", same.id)).version == same.version

    async def test_a_task_that_is_given_twice_is_the_first_one(self, tasks: TaskRepository) -> None:
        task = a_task()
        imported = await memory_tasks(repository=tasks).of("ada").import_([task, task, replace(task, title="Other")])
        assert (imported.added, imported.unchanged, imported.kept) == (1, 1, [task.id])
        assert await walk(tasks, "ada", 9) == [replace(task, version=1)]

    async def test_imports_and_writes_at_the_same_time_lose_nothing(self, tasks: TaskRepository) -> None:
        cases, given = memory_tasks(repository=tasks), some_tasks(40)
        adds = [add(tasks, task) for task in reversed(given[::4])]
        imports = [cases.of("ada").import_(given[n:]) for n in (0, 10, 20)]
        await asyncio.gather(*imports, *adds, return_exceptions=True)
        assert (await cases.of("ada").import_(given)).unchanged == 40
        assert {*await exported(cases)} == {*given}


class ForgetContract(RepositoryCase):
    """Forgetting a user: nothing is left, and no state from before is taken for a present one."""

    @pytest.fixture(autouse=True)
    def can_forget(self, tasks: TaskRepository) -> None:
        """Skip the tests for an adapter without `forget`."""
        if type(tasks).forget is TaskRepository.forget:
            pytest.skip("the adapter does not implement forget")

    async def test_nothing_of_the_user_is_left_and_all_of_the_others(self, tasks: TaskRepository) -> None:
        cases, mine, theirs = memory_tasks(repository=tasks), some_tasks(501), some_tasks(9, "grace")
        await cases.of("ada").import_(mine)
        await cases.of("grace").import_(theirs)
        await tasks.apply("ada", [Write(kind="add", task=a_task())], now=NOW, once=ONCE)
        await tasks.apply("grace", [Write(kind="add", task=a_task(user_id="grace"))], now=NOW, once=ONCE)
        await tasks.remove("ada", mine[0].id, removed_at=NOW)
        before, untouched = await state_of(tasks), await state_of(tasks, "grace")
        assert await cases.forget("ada") == 501 + 1 + 1 + 1  # tasks, a deletion, a key and the counter
        assert await cases.forget("ada") == 0
        assert await tasks.states(["ada", "grace"]) == {"grace": untouched}
        assert (await walk(tasks, "ada", 500), len(await walk(tasks, "grace", 500))) == ([], 10)
        assert await tasks.recall("ada", ONCE) is None
        assert await tasks.recall("grace", ONCE)
        with pytest.raises(StateExpired):
            await tasks.changes("ada", since=before, limit=9)
        assert (await add(tasks, mine[0])).version == 1  # its deletion is forgotten, too
        now = await state_of(tasks)
        assert now.epoch not in (before.epoch, untouched.epoch)
        with pytest.raises(StateExpired):
            await tasks.changes("ada", since=before, limit=9)
        assert (await tasks.list("ada", PageRequest(), known=before)).tasks

    async def test_a_list_that_is_half_forgotten_has_another_state(self, tasks: TaskRepository) -> None:
        await memory_tasks(repository=tasks).of("ada").import_(some_tasks(1001))
        states = {await state_of(tasks)}
        while await tasks.forget("ada"):
            now = await state_of(tasks)
            assert now not in states
            states.add(now)
            rest = await walk(tasks, "ada", 500)
            assert len((await tasks.changes("ada", since=NOTHING, limit=2000)).changes) == len(rest)
        assert now == NOTHING

    async def test_a_write_meanwhile_is_forgotten_or_begins_a_list(self, tasks: TaskRepository) -> None:
        cases = memory_tasks(repository=tasks)
        for _ in range(5):
            old = [await add(tasks, task) for task in some_tasks(5)]
            renames = [save(tasks, task.apply(TaskChange(title="x"), now=LATER)) for task in old]
            adds = [add(tasks, task) for task in some_tasks(10)]
            *done, _ = await asyncio.gather(*renames, *adds, cases.forget("ada"), return_exceptions=True)
            assert all(isinstance(each, Task | TaskNotFound) for each in done)
            state, found = await state_of(tasks), await walk(tasks, "ada", 500)
            assert len({task.version for task in found}) == len(found)
            assert all(task.version <= state.number for task in found)
            assert (await tasks.changes("ada", since=NOTHING, limit=500)).next == state
            await cases.forget("ada")
            assert await state_of(tasks) == NOTHING
            assert await walk(tasks, "ada", 500) == []
