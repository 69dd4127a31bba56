"""Concurrent users with the same ids: no user's calls affect another's."""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from application import ApplicationError, PageRequest, TaskRepository
from domain import Task, TaskChange
from tests.contract.model import ModelRepository
from tests.contract.test_task_repository import NOW, a_task

USERS = [f"user {n}" for n in range(24)]
IDS = [UUID(int=n) for n in range(4)]


def one_step(chance: random.Random, user: str, seen: list[Task], now: datetime) -> Any:
    """Choose a call that any repository can carry out."""
    task_id, seen_task = chance.choice(IDS), chance.choice(seen or [a_task(user_id=user, id=IDS[0])])
    title = f"{user}, {chance.randrange(10**6)}"
    task = a_task(title, user_id=user, id=task_id, now=now)
    changed = seen_task.apply(TaskChange(title=title, is_completed=chance.random() < 0.5), now=now)
    version = chance.choice([None, seen_task.version])
    return chance.choice(
        [
            lambda tasks: tasks.add(task),
            lambda tasks: tasks.get(user, task_id),
            lambda tasks: tasks.get(user, task_id),
            lambda tasks: tasks.save(changed),
            lambda tasks: tasks.save(changed),
            lambda tasks: tasks.remove(user, seen_task.id, removed_at=now, expected_version=version),
            lambda tasks: tasks.list(user, PageRequest(limit=2)),
        ]
    )


async def outcome(call: Any) -> Any:
    try:
        return await call
    except ApplicationError as error:
        return type(error)


@pytest.mark.parametrize("seed", range(3))
async def test_each_user_gets_the_same_results_as_alone(tasks: TaskRepository, seed: int) -> None:
    async def live(user: str) -> None:
        chance, model, seen = random.Random(f"{seed} {user}"), ModelRepository(), list[Task]()
        for n in range(40):
            step = one_step(chance, user, seen, NOW + timedelta(seconds=n))
            expected = await outcome(step(model))
            assert await outcome(step(tasks)) == expected
            seen += [expected] if isinstance(expected, Task) else []

    await asyncio.gather(*(live(user) for user in USERS))
