"""Processes that write tasks, or follow them, until they are killed: `python -m … write URL` or `… follow URL FILE`."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.positions import SqlitePositions
from adapters.postgres import Database, PoolSettings, PostgresTaskRepository
from application import ApplicationError, ChangeOperation, CreateOperation, Tasks
from domain import TaskChange, TaskDraft
from tests.patience import DATABASE_TIMEOUT_SECONDS

USERS = ["ada", "grace", "zoë"]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Tasks]:
    database = Database(url, PoolSettings(timeout=DATABASE_TIMEOUT_SECONDS))
    yield Tasks.on(PostgresTaskRepository(database), clock=SystemClock(), ids=Uuid7Ids())
    await database.close()


async def write(url: str) -> None:
    chance = random.Random()
    ids: list[UUID] = []
    async with opened(url) as tasks:
        while True:
            user = tasks.of(chance.choice(USERS))
            new = CreateOperation(draft=TaskDraft(title=f"{chance.random()}"))
            change = TaskChange(title=f"{chance.random()}", is_completed=chance.random() < 0.5)
            with suppress(ApplicationError):  # the task is of another user, or deleted
                ids = [(await user.create("new")).task.id, *ids[:9]]
                match chance.randrange(3):
                    case 0:
                        await user.update(chance.choice(ids), change)
                    case 1:
                        await user.delete(chance.choice(ids))
                    case 2:
                        await user.apply([new, ChangeOperation(task_id=chance.choice(ids), change=change)])


async def follow(url: str, file: str) -> None:
    with SqlitePositions(file) as positions:
        async with opened(url) as tasks:
            async for event in tasks.follow(positions, poll_seconds=0.01):
                sys.stdout.write(f"{json.dumps(event.as_dict())}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", url]:
            asyncio.run(write(url))
        case ["follow", url, file]:
            asyncio.run(follow(url, file))
