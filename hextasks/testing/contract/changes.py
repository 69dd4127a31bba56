"""The contract for states, the feed of changes, and old deletions."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hextasks import (
    NOTHING,
    Change,
    ChangePage,
    PageRequest,
    Removal,
    State,
    StateExpired,
    TaskAlreadyExists,
    TaskChange,
    TaskRepository,
)
from hextasks.testing.contract.calls import LATER, NOW, a_task, add, purge, save, state_of
from hextasks.testing.contract.case import RepositoryCase, optional

RENAMED = TaskChange(title="Buy tea")


async def since(tasks: TaskRepository, state: State, limit: int = 500) -> ChangePage:
    """Return the changes of ada's tasks since a state."""
    return await tasks.changes("ada", since=state, limit=limit)


async def pages(tasks: TaskRepository, state: State, limit: int) -> list[ChangePage]:
    """Read pages until the last one, each from the token of the one before it."""
    found = [await since(tasks, state, limit)]
    while found[-1].has_more:
        found.append(await since(tasks, State.parse(str(found[-1].next)), limit))
    return found


class ChangeContract(RepositoryCase):
    """The feed of changes."""

    async def test_each_task_appears_once_in_its_newest_state_in_the_order_of_numbers(
        self, tasks: TaskRepository
    ) -> None:
        first, second, third = [await add(tasks, a_task(str(n))) for n in range(3)]
        start = await state_of(tasks)
        await tasks.save(second.apply(RENAMED, now=LATER))
        saved = await save(tasks, first.apply(RENAMED, now=LATER))
        second = await save(tasks, (await tasks.get("ada", second.id)).apply(TaskChange(title="2"), now=LATER))
        await tasks.remove("ada", third.id, removed_at=LATER)
        new = await add(tasks, a_task())
        await tasks.add(a_task(user_id="grace"))
        expected: list[Change] = [saved, second, Removal(id=third.id, version=7), new]
        page = await since(tasks, start)
        assert [*page.changes] == expected
        assert (page.next, page.has_more) == (replace(start, number=8), False)
        for limit in (1, 2, 3, 4):
            found = await pages(tasks, start, limit)
            assert [change for each in found for change in each.changes] == expected
            assert [len(each.changes) for each in found[:-1]] == [limit] * (len(found) - 1)
            assert found[-1].next == page.next
        assert await since(tasks, page.next) == ChangePage(changes=(), next=page.next, has_more=False)

    async def test_from_the_beginning_there_are_tasks_only(self, tasks: TaskRepository) -> None:
        assert await since(tasks, NOTHING) == ChangePage(changes=(), next=NOTHING, has_more=False)
        made = [await add(tasks, a_task(str(n))) for n in range(5)]
        for task in made[1::2]:
            await tasks.remove("ada", task.id, removed_at=LATER)
        found = await pages(tasks, NOTHING, 2)
        assert [change for page in found for change in page.changes] == made[::2]
        assert found[-1].next == await state_of(tasks)

    async def test_deletions_between_the_pages_of_a_first_synchronization_are_sent(self, tasks: TaskRepository) -> None:
        gone, *made = [await add(tasks, a_task(str(n))) for n in range(4)]
        await tasks.remove("ada", gone.id, removed_at=LATER)
        first = await since(tasks, NOTHING, 1)
        assert first.changes == (made[0],)
        assert first.next.began == 5
        for task in made[:2]:
            await tasks.remove("ada", task.id, removed_at=LATER)
        rest = [change for page in await pages(tasks, first.next, 1) for change in page.changes]
        assert rest == [made[2], Removal(id=made[0].id, version=6), Removal(id=made[1].id, version=7)]

    async def test_a_first_synchronization_ends_though_deletions_before_it_are_purged_meanwhile(
        self, tasks: TaskRepository
    ) -> None:
        made = [await add(tasks, a_task(str(n))) for n in range(6)]
        for task in made[::2]:
            await tasks.remove("ada", task.id, removed_at=NOW)
        page = await since(tasks, NOTHING, 1)
        found = [*page.changes]
        while page.has_more:
            await purge(tasks, 1, limit=1)
            page = await since(tasks, page.next, 1)
            found += page.changes
        assert found == made[1::2]
        await tasks.remove("ada", made[1].id, removed_at=NOW)
        assert await purge(tasks, 1) >= 1
        with pytest.raises(StateExpired):
            await since(tasks, page.next)

    @pytest.mark.parametrize(
        "changed", [{"epoch": 5}, {"number": 4}, {"epoch": 0, "number": 3}, {"number": 4, "began": 9}], ids=str
    )
    async def test_a_state_of_another_epoch_or_ahead_is_expired(
        self, tasks: TaskRepository, changed: dict[str, Any]
    ) -> None:
        for _ in range(3):
            await tasks.add(a_task())
        state = await state_of(tasks)
        with pytest.raises(StateExpired):
            await since(tasks, replace(state, **changed))
        with pytest.raises(StateExpired):
            await tasks.changes("grace", since=state, limit=1)
        assert (await since(tasks, state)).changes == ()

    @optional
    async def test_a_restored_backup_makes_states_expire(self, tasks: TaskRepository) -> None:
        for _ in range(3):
            await tasks.add(a_task())
        state = await state_of(tasks)
        await self.restore_backup(tasks, state.epoch ^ 1)
        with pytest.raises(StateExpired):
            await since(tasks, state)
        assert len((await since(tasks, NOTHING)).changes) == 3

    async def test_a_state_before_a_purged_deletion_is_expired(self, tasks: TaskRepository) -> None:
        start = (await tasks.add(a_task())).state
        gone = [await add(tasks, a_task(str(n))) for n in range(3)]
        states = [(await tasks.remove("ada", task.id, removed_at=NOW)).state for task in gone]
        assert start
        assert len((await since(tasks, start)).changes) == 3
        assert await purge(tasks, 1, limit=2) == 2
        assert states[0]
        with pytest.raises(StateExpired):
            await since(tasks, states[0])
        assert states[1]
        assert (await since(tasks, states[1])).changes == (Removal(id=gone[2].id, version=7),)
        with pytest.raises(StateExpired):
            await since(tasks, start)


class PurgeContract(RepositoryCase):
    """Forgetting old deletions."""

    async def test_it_is_bounded_and_forgets_the_oldest_first(self, tasks: TaskRepository) -> None:
        made = {(user, n): await add(tasks, a_task(user_id=user)) for n in range(5) for user in ("ada", "grace")}
        for age, ((user, _), task) in enumerate(made.items()):
            await tasks.remove(user, task.id, removed_at=NOW - timedelta(seconds=age))
        assert await purge(tasks, -20) == 0
        assert await purge(tasks, 0, limit=3) == 3
        *kept, first, second, third = made.values()
        for task in kept:
            with pytest.raises(TaskAlreadyExists):
                await tasks.add(task)
        for task in (first, second, third):
            await tasks.add(task)  # an id may be used again once its deletion is forgotten
        assert [await purge(tasks, 0, limit=3) for _ in range(4)] == [3, 3, 0, 0]
        assert await purge(tasks, 1, limit=3) == 1
        assert await purge(tasks, 1, limit=3) == 0

    async def test_a_state_stays_expired_when_an_earlier_deletion_is_purged_later(self, tasks: TaskRepository) -> None:
        one, another = [await add(tasks, a_task()) for _ in range(2)]
        after_one = (await tasks.remove("ada", one.id, removed_at=LATER)).state
        await tasks.remove("ada", another.id, removed_at=NOW)  # by a clock that was set back
        assert after_one
        for seconds in (0.5, 2):
            assert await purge(tasks, seconds) == 1
            with pytest.raises(StateExpired):
                await since(tasks, after_one)

    async def test_an_id_can_be_used_again_once_its_deletion_is_purged(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        before = (await tasks.remove("ada", task.id, removed_at=NOW)).state
        with pytest.raises(TaskAlreadyExists):
            await tasks.add(a_task(id=task.id))
        with pytest.raises(TaskAlreadyExists):
            await tasks.add(a_task("another", id=task.id))
        await purge(tasks, 1)
        again = await add(tasks, a_task(id=task.id))
        assert again.version == 3
        assert before
        assert (await since(tasks, before)).changes == (again,)


class StateContract(RepositoryCase):
    """The states that reads and writes return."""

    async def test_every_write_returns_the_state_after_it(self, tasks: TaskRepository) -> None:
        assert await tasks.states(["ada", "grace"]) == {}
        assert (await tasks.list("ada", PageRequest())).state == NOTHING
        made = await tasks.add(a_task())
        saved = await tasks.save(made.task.apply(RENAMED, now=LATER))
        removed = await tasks.remove("ada", made.task.id, removed_at=LATER)
        hers = await tasks.add(a_task(user_id="grace"))
        states = [made.state, saved.state, removed.state]
        assert all(states)
        assert [state and state.number for state in states] == [1, 2, 3]
        assert {state and state.epoch for state in states} == {(await state_of(tasks)).epoch}
        assert await tasks.states(["ada", "grace", "alan"]) == {"ada": removed.state, "grace": hers.state}
        assert (await tasks.list("ada", PageRequest())).state == removed.state
        assert hers.state
        assert 0 < hers.state.epoch < 2**48
        assert hers.state.epoch != (await state_of(tasks)).epoch, "one in 2**48 is the same"

    async def test_a_list_in_the_known_state_has_no_tasks(self, tasks: TaskRepository) -> None:
        assert (await tasks.list("ada", PageRequest(), known=NOTHING)).tasks == ()
        task = await add(tasks, a_task())
        state = await state_of(tasks)
        for request in (PageRequest(), PageRequest(completed=False), PageRequest(text="milk")):
            page = await tasks.list("ada", request, known=state)
            assert (page.tasks, page.next, page.state) == ((), None, state)
            for known in (
                None,
                NOTHING,
                replace(state, epoch=state.epoch ^ 1),
                replace(state, number=state.number + 1),
            ):
                page = await tasks.list("ada", request, known=known)
                assert (page.tasks, page.state) == ((task,), state)
        await tasks.remove("ada", task.id, removed_at=LATER)
        page = await tasks.list("ada", PageRequest(), known=state)
        assert (page.tasks, page.state) == ((), replace(state, number=2))
