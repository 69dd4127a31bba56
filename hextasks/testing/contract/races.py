"""The contract for concurrent writes."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from hextasks import Task, TaskChange, TaskNotFound, TaskRepository, VersionConflict, Written
from hextasks.testing.contract.calls import LATER, a_task, add, save, walk
from hextasks.testing.contract.case import RepositoryCase


async def outcomes(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Make calls at the same time, and return their results and errors."""
    return await asyncio.gather(*calls, return_exceptions=True)


class RaceContract(RepositoryCase):
    """Concurrent writes."""

    async def test_of_20_saves_of_one_version_one_wins(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        results = await outcomes(
            *(save(tasks, task.apply(TaskChange(title=f"title {n}"), now=LATER)) for n in range(20))
        )
        won = [result for result in results if isinstance(result, Task)]
        assert len(won) == 1
        assert all(isinstance(result, VersionConflict) for result in results if result is not won[0])
        assert await tasks.get("ada", task.id) == won[0]

    async def test_of_20_removals_one_wins(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        results = await outcomes(*(tasks.remove("ada", task.id, removed_at=LATER) for _ in range(20)))
        assert sum(isinstance(result, Written) for result in results) == 1
        assert sum(isinstance(result, TaskNotFound) for result in results) == 19

    @pytest.mark.parametrize("names_version", [True, False])
    async def test_a_save_against_a_removal_ends_in_one_of_two_ways(
        self, tasks: TaskRepository, names_version: bool
    ) -> None:
        for n in range(20):
            task = await add(tasks, a_task())
            expected = task.version if names_version else None
            calls = [
                save(tasks, task.apply(TaskChange(title=f"renamed {n}"), now=LATER)),
                tasks.remove("ada", task.id, removed_at=LATER, expected_version=expected),
            ]
            saved, removed = await outcomes(*calls) if n % 2 else reversed(await outcomes(*reversed(calls)))
            if isinstance(saved, Task) and not isinstance(removed, Written):
                assert names_version
                assert isinstance(removed, VersionConflict)
                assert await tasks.get("ada", task.id) == saved
            else:
                assert isinstance(removed, Written)
                assert isinstance(saved, Task | TaskNotFound)
                with pytest.raises(TaskNotFound):
                    await tasks.get("ada", task.id)

    async def test_20_writers_never_get_the_same_number_and_numbers_only_grow(self, tasks: TaskRepository) -> None:
        async def write(n: int) -> list[int]:
            task = await add(tasks, a_task(f"task {n}"))
            numbers = [task.version]
            for turn in range(5):
                task = await save(tasks, task.apply(TaskChange(title=f"task {n}, turn {turn}"), now=LATER))
                numbers.append(task.version)
            await tasks.remove("ada", task.id, removed_at=LATER)
            return numbers

        written = await asyncio.gather(*(write(n) for n in range(20)))
        assert all(numbers == sorted(numbers) for numbers in written)
        given = sorted(number for numbers in written for number in numbers)
        assert len(given) == len(set(given)) == 120
        assert (await add(tasks, a_task())).version == 20 * 7 + 1, "a removal takes a number too, and none is left out"

    async def test_rejected_writes_take_no_number(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        stale = task.apply(TaskChange(title="stale"), now=LATER)
        await tasks.save(task.apply(TaskChange(title="newer"), now=LATER))
        await outcomes(
            tasks.save(stale),
            tasks.add(a_task(id=task.id)),
            tasks.remove("ada", task.id, removed_at=LATER, expected_version=task.version),
            tasks.remove("ada", a_task().id, removed_at=LATER),
        )
        assert (await add(tasks, a_task())).version == 3

    async def test_each_user_has_a_counter_of_their_own(self, tasks: TaskRepository) -> None:
        users = [f"user {n}" for n in range(5)]
        made = await asyncio.gather(*(add(tasks, a_task(user_id=user)) for user in users for _ in range(4)))
        for user in users:
            assert sorted(task.version for task in made if task.user_id == user) == [1, 2, 3, 4]
            assert len(await walk(tasks, user, 50)) == 4
