"""The contract for lists: order, pages, and walks during concurrent writes."""

import asyncio
import itertools
import random
from datetime import timedelta
from uuid import UUID

import pytest

from hextasks import PageRequest, Position, Task, TaskChange, TaskRepository
from hextasks.testing.contract.calls import LATER, NOW, a_task, add, save, walk
from hextasks.testing.contract.case import RepositoryCase


class ListContract(RepositoryCase):
    """The order of lists, their pages and filters, also during writes."""

    async def test_newest_first_and_equal_times_by_descending_id(self, tasks: TaskRepository) -> None:
        moments = [NOW, NOW, NOW + timedelta(microseconds=1), NOW, NOW - timedelta(days=1)]
        ids = [UUID(int=n) for n in (2**127, 1, 5, 2**127 - 1, 2**128 - 1)]
        made = [await add(tasks, a_task(now=moment, id=task_id)) for moment, task_id in zip(moments, ids, strict=True)]
        expected = [made[n] for n in (2, 0, 3, 1, 4)]
        for limit in (1, 2, 3, 5, 500):
            assert await walk(tasks, "ada", limit) == expected

    async def test_filters_and_their_pages(self, tasks: TaskRepository) -> None:
        made = [await add(tasks, a_task(str(n), now=NOW + timedelta(seconds=n))) for n in range(10)]
        done = [
            await save(tasks, task.apply(TaskChange(is_completed=True), now=LATER + timedelta(hours=1)))
            for task in made[::3]
        ]
        opened = [task for task in made if task.id not in {d.id for d in done}]
        for limit in (1, 3, 4, 500):
            assert await walk(tasks, "ada", limit, completed=True) == done[::-1]
            assert await walk(tasks, "ada", limit, completed=False) == opened[::-1]
        reopened = await save(tasks, done[0].apply(TaskChange(is_completed=False), now=LATER + timedelta(hours=2)))
        assert reopened in await walk(tasks, "ada", 3, completed=False)
        assert len(await walk(tasks, "ada", 3, completed=True)) == 3

    @pytest.mark.parametrize("count", [0, 1, 4, 5])
    async def test_the_last_page_has_no_next(self, tasks: TaskRepository, count: int) -> None:
        made = [await add(tasks, a_task(now=NOW + timedelta(seconds=n))) for n in range(count)]
        page = await tasks.list("ada", PageRequest(limit=4))
        assert (page.next is None) == (count <= 4)
        assert page.tasks == tuple(reversed(made))[:4]

    async def test_a_page_may_start_at_a_position_without_a_task(self, tasks: TaskRepository) -> None:
        older = await add(tasks, a_task(now=NOW))
        await tasks.add(a_task(now=NOW + timedelta(seconds=2)))
        between = Position(created_at=NOW + timedelta(seconds=1), id=UUID(int=0))
        assert (await tasks.list("ada", PageRequest(after=between))).tasks == (older,)
        assert (await tasks.list("ada", PageRequest(after=Position.of(older)))).tasks == ()

    async def test_users_see_their_own_tasks_only(self, tasks: TaskRepository) -> None:
        users = ["ada", "Ada", "ada ", "ada\u0301", "grace"]
        made = {user: await add(tasks, a_task(user_id=user)) for user in users}
        for user in users:
            assert await walk(tasks, user, 50) == [made[user]]
        assert await walk(tasks, "nobody", 50) == []

    @pytest.mark.parametrize("completed", [None, False])
    async def test_a_walk_during_writes_returns_each_unremoved_task_once(
        self, tasks: TaskRepository, completed: bool | None
    ) -> None:
        """Writers add, rename and remove during a walk; tasks that exist throughout are returned exactly once."""
        chance = random.Random(7)
        made = [await add(tasks, a_task(str(n), now=NOW + timedelta(seconds=n // 5))) for n in range(100)]
        leaving, renamed = set(chance.sample(range(100), 30)), set(chance.sample(range(100), 30))
        staying = {task.id for n, task in enumerate(made) if n not in leaving}
        walked = asyncio.Event()

        async def write() -> None:
            for n, task in enumerate(made):
                if n in leaving:
                    await tasks.remove("ada", task.id, removed_at=LATER)
                elif n in renamed:
                    await tasks.save(task.apply(TaskChange(title=f"renamed {n}"), now=NOW + timedelta(days=1)))
                await asyncio.sleep(0)

        async def add_more() -> None:
            for n in itertools.count():
                if walked.is_set():
                    return
                await tasks.add(a_task(f"new {n}", now=NOW + timedelta(seconds=n % 25)))
                await asyncio.sleep(0)

        async def read() -> list[Task]:
            try:
                found: list[Task] = []
                after = None
                while True:
                    page = await tasks.list("ada", PageRequest(limit=3, after=after, completed=completed))
                    found += page.tasks
                    after = page.next
                    if after is None:
                        return found
                    await asyncio.sleep(0)
            finally:
                walked.set()

        seen, *_ = await asyncio.gather(read(), write(), add_more())
        ids = [task.id for task in seen]
        assert len(ids) == len(set(ids))
        assert staying <= set(ids)
        assert [Position.of(task) for task in seen] == sorted((Position.of(task) for task in seen), reverse=True)
