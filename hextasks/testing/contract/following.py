"""The contract for the feed of changes while others write: who follows it has the same list as the repository."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from hextasks import (
    TaskAlreadyExists,
    TaskChange,
    TaskContended,
    TaskNotFound,
    TaskRepository,
    VersionConflict,
    Write,
    WritesRejected,
)
from hextasks.testing.contract.calls import LATER, NOW, a_task, walk
from hextasks.testing.contract.case import RepositoryCase
from hextasks.testing.contract.replicas import Replica

WRITERS = 20
AFTER = LATER + timedelta(seconds=1)
REJECTIONS = (TaskAlreadyExists, TaskContended, TaskNotFound, VersionConflict, WritesRejected)


class Writer:
    """Adds, saves and removes tasks, one at a time and many at once; several of them share the tasks."""

    def __init__(self, tasks: TaskRepository, chance: random.Random, ids: Sequence[UUID]) -> None:
        self.tasks, self.chance, self.ids = tasks, chance, ids

    async def write(self) -> None:
        """Write once. What conflicts with others is rejected."""
        task_id = self.chance.choice(self.ids)
        for _ in range(self.chance.randrange(20)):
            await asyncio.sleep(0)
        with suppress(*REJECTIONS):
            await self._write(task_id)

    async def _write(self, task_id: UUID) -> None:
        stored = await self.tasks.get_many("ada", [task_id])
        if not stored:
            await self.tasks.add(a_task(id=task_id))
            return
        task = stored[task_id]
        changed = task.apply(TaskChange(title=f"{self.chance.random()}"), now=LATER)
        match self.chance.randrange(5):
            case 0 | 1:
                await self.tasks.save(changed)
            case 2:
                await self.tasks.remove("ada", task_id, removed_at=LATER)
            case 3:
                writes = [Write(kind="save", task=changed), Write(kind="add", task=a_task("many"))]
                await self.tasks.apply("ada", writes, now=LATER)
            case 4:
                await self.tasks.apply("ada", [Write(kind="remove", task=task)], now=LATER)


async def follow_writers(repositories: Sequence[TaskRepository], rounds: int) -> None:
    """In each round 20 writers write, while a follower reads pages; then its copy is the list."""
    replica, chance = Replica("ada"), random.Random(rounds)
    moved = 0
    for n in range(rounds):
        ids = [UUID(int=n // 10 * 100 + i) for i in range(12)]
        writers = [Writer(repositories[w % len(repositories)], random.Random(f"{n} {w}"), ids) for w in range(WRITERS)]
        writing = [asyncio.create_task(writer.write()) for writer in writers]
        while not all(each.done() for each in writing):
            before = replica.state
            await replica.follow(chance.choice(repositories), chance.choice([1, 2, 3, 5, 500]))
            moved += replica.state != before
            await asyncio.sleep(0)
        await asyncio.gather(*writing)
        await replica.catch_up(repositories[0], chance)
        listed = await walk(repositories[0], "ada", 500)
        assert replica.tasks == {task.id: task for task in listed}
        assert replica.state == (await repositories[0].states(["ada"]))["ada"]
    assert replica.restarts == 0
    assert moved > rounds, "the follower sees states between those of the rounds"


class FollowerContract(RepositoryCase):
    """Copies that follow the feed of changes while others write."""

    rounds: ClassVar[int] = 50
    """How often a round of writes is tried."""

    async def test_a_follower_of_20_writers_has_their_list(self, tasks: TaskRepository) -> None:
        await follow_writers([tasks], self.rounds)

    async def test_a_follower_of_writers_purges_and_restored_backups_starts_again_or_has_the_list(
        self, tasks: TaskRepository
    ) -> None:
        """The copies of several followers, who read at their own pace, are true, or their state has expired."""
        chance = random.Random(1)
        ids = [UUID(int=n) for n in range(30)]
        replicas = [Replica("ada") for _ in range(6)]
        for _ in range(self.rounds * 10):
            await Writer(tasks, chance, ids).write()
            if chance.random() < 0.1:
                await tasks.purge(removed_before=AFTER, keys_before=NOW, limit=chance.randrange(1, 9))
            if chance.random() < 0.02 and self.restores_backups:
                await self.set_epochs(tasks, chance.randrange(1, 2**48))
            replica = chance.choice(replicas)
            page = await replica.follow(tasks, chance.choice([1, 2, 3, 5, 500]))
            if not page.has_more:
                assert replica.tasks == {task.id: task for task in await walk(tasks, "ada", 500)}
        assert all(replica.restarts for replica in replicas)
