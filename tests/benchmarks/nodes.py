"""`python -m tests.benchmarks.nodes NAME=MODE@URL…`: the repository on several databases, window by window in turn.

MODE is that of DATABASE_COALESCING. The first database is the one to which the others are compared. Each is migrated.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import chain, count
from statistics import median, quantiles
from typing import Any
from uuid import uuid4

from adapters.ids import Uuid7Ids
from adapters.postgres import Database, PoolSettings, PostgresTaskRepository
from application import PageRequest, Write
from domain import Task, TaskChange, TaskDraft
from tests.benchmarks.tables import table

CLIENTS = (1, 16)
ROUNDS = 3
SECONDS = 1.0
STORED = 50
"""Tasks of each user before the first window."""
_ids = Uuid7Ids()


def new_task(user: str) -> Task:
    """Return a task that is not stored."""
    return Task.create(TaskDraft(title="Buy milk"), id=_ids.new(), user_id=user, now=datetime.now(UTC))


class User:
    """One client: calls for one user, one after the other."""

    def __init__(self, tasks: PostgresTaskRepository) -> None:
        """Take a name that nobody has."""
        self.tasks = tasks
        self.name = f"user-{uuid4()}"
        self.turn = count()
        self.stored: list[Task] = []

    async def fill(self) -> None:
        """Store tasks."""
        for _ in range(STORED):
            await self.create()

    async def create(self) -> None:
        """Add a task."""
        task = new_task(self.name)
        written = await self.tasks.add(task)
        self.stored.append(written.task)

    async def get(self) -> None:
        """Read one."""
        await self.tasks.get(self.name, self.stored[next(self.turn) % STORED].id)

    async def list(self) -> None:
        """Read a page of 50."""
        await self.tasks.list(self.name, PageRequest(limit=50))

    async def update(self) -> None:
        """Rename one that was read."""
        place = next(self.turn) % STORED
        task = self.stored[place].apply(TaskChange(title=f"Buy {next(self.turn)}"), now=datetime.now(UTC))
        written = await self.tasks.save(task)
        self.stored[place] = written.task

    async def delete(self) -> None:
        """Add one and remove it."""
        task = new_task(self.name)
        await self.tasks.add(task)
        await self.tasks.remove(self.name, task.id, removed_at=datetime.now(UTC))

    async def batch(self) -> None:
        """Add ten in one statement."""
        writes = [Write(kind="add", task=new_task(self.name)) for _ in range(10)]
        await self.tasks.apply(self.name, writes, now=datetime.now(UTC))


OPERATIONS: dict[str, Callable[[User], Awaitable[None]]] = {
    "get": User.get,
    "list": User.list,
    "create": User.create,
    "update": User.update,
    "create and delete": User.delete,
    "batch of 10": User.batch,
}


async def window(users: list[User], call: Callable[[User], Awaitable[None]]) -> list[float]:
    """Have each user call for some time; returns how long each call took."""
    end, times = time.monotonic() + SECONDS, list[float]()

    async def live(user: User) -> None:
        while (began := time.monotonic()) < end:
            await call(user)
            times.append(time.monotonic() - began)

    await asyncio.gather(*map(live, users))
    return times


async def measure(databases: dict[str, tuple[Any, str]]) -> None:
    """Measure each database in turn, and print a table."""
    opened = {name: Database(url, PoolSettings(timeout=30.0)) for name, (_, url) in databases.items()}
    tasks = {name: PostgresTaskRepository(opened[name], coalescing=mode) for name, (mode, _) in databases.items()}
    rows: list[tuple[str, ...]] = []
    for clients in CLIENTS:
        users = {name: [User(tasks[name]) for _ in range(clients)] for name in tasks}
        for each in users.values():
            await asyncio.gather(*(user.fill() for user in each))
        for operation, call in OPERATIONS.items():
            found = defaultdict[str, list[list[float]]](list)
            for turn in range(ROUNDS + 1):
                for name in tasks:
                    times = await window(users[name], call)
                    if turn:  # the first is the warm-up
                        found[name].append(times)
            first = None
            for name, windows in found.items():
                rate = median(len(times) / SECONDS for times in windows)
                p50, p99 = (quantiles(chain(*windows), n=100)[place] * 1000 for place in (49, 98))
                first = first or (rate, p50)
                ratios = f"{rate / first[0]:.2f}", f"{p50 / first[1]:.2f}"
                rows.append((str(clients), operation, name, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", *ratios))
    print(table(("clients", "operation", "database", "calls/s", "p50 ms", "p99 ms", "rate ratio", "p50 ratio"), rows))
    for database in opened.values():
        await database.close()


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    asyncio.run(measure({name: tuple(text.split("@", 1)) for name, text in given.items()}))  # type: ignore[misc]
