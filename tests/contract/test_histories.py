"""Random histories: memory, Postgres and the plainest model that could be right, told the same, answer the same."""

from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.memory import MemoryTaskRepository
from adapters.postgres import Database, PostgresTaskRepository
from application import (
    ApplicationError,
    CompleteTask,
    CreateTask,
    DeleteTask,
    GetTask,
    ListTasks,
    PageRequest,
    Position,
    TaskAlreadyExists,
    TaskNotFound,
    TaskPage,
    TaskRepository,
    UpdateTask,
    VersionConflict,
)
from domain import DomainError, Task
from tests.contract.test_task_repository import NOW

pytestmark = pytest.mark.database


class ModelRepository:
    """The port at its plainest: a dictionary, a counter, and a sort of everything at each listing."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, UUID], Task] = {}
        self.counters: defaultdict[str, int] = defaultdict(int)

    def _store(self, task: Task) -> Task:
        self.counters[task.user_id] += 1
        self.tasks[task.user_id, task.id] = replace(task, version=self.counters[task.user_id])
        return self.tasks[task.user_id, task.id]

    async def add(self, task: Task) -> Task:
        if (task.user_id, task.id) in self.tasks:
            raise TaskAlreadyExists
        return self._store(task)

    async def get(self, user_id: str, task_id: UUID) -> Task:
        if (user_id, task_id) not in self.tasks:
            raise TaskNotFound
        return self.tasks[user_id, task_id]

    async def list(self, user_id: str, page: PageRequest) -> TaskPage:
        mine = [task for task in self.tasks.values() if task.user_id == user_id]
        mine.sort(key=lambda task: (task.created_at, task.id), reverse=True)
        wanted = [task for task in mine if page.completed in (None, task.is_completed)]
        rest = [task for task in wanted if page.after is None or Position.of(task) < page.after]
        return TaskPage.cut(rest, page.limit)

    async def save(self, task: Task) -> Task:
        stored = await self.get(task.user_id, task.id)
        if stored.version != task.version:
            raise VersionConflict
        return self._store(task)

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        stored = await self.get(user_id, task_id)
        if expected_version not in (None, stored.version):
            raise VersionConflict
        del self.tasks[user_id, task_id]
        self.counters[user_id] += 1


@dataclass
class Scripted:
    """A clock that steps as told, back too, and ids that come round again."""

    steps: list[int]
    time: datetime = field(default=NOW)
    made: int = 0

    def now(self) -> datetime:
        self.time += timedelta(microseconds=self.steps[self.made % len(self.steps)])
        return self.time

    def new(self) -> UUID:
        self.made += 1
        return UUID(int=self.made % 12)


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (ApplicationError, DomainError) as refusal:
        return type(refusal)


users = st.sampled_from(["ada", "Ada", "grace"])
titles = st.sampled_from(["Buy milk", " Buy milk ", "", "x" * 500, "\U0001f600"])
versions = st.none() | st.integers(0, 8)
steps = st.fixed_dictionaries(
    {
        "story": st.sampled_from(["create", "create", "get", "list", "update", "update", "complete", "delete"]),
        "actor": st.just(None) | users,
        "user_id": users,
        "id": st.integers(0, 12),
        "title": st.none() | titles,
        "is_completed": st.none() | st.booleans(),
        "version": versions,
        "limit": st.integers(1, 4),
        "completed": st.none() | st.booleans(),
    }
)


async def tell(tasks: TaskRepository, clock: Scripted, history: list[dict[str, Any]]) -> list[Any]:
    """Live a history through the use-cases, and return all that a caller saw."""
    seen: list[Any] = []
    places: dict[str, Position | None] = {}
    for step in history:
        who = {"actor": step["actor"] or step["user_id"], "user_id": step["user_id"]}
        one = {**who, "task_id": UUID(int=step["id"])}
        expected = {"expected_version": step["version"]}
        change = {"title": step["title"], "is_completed": step["is_completed"]}
        page = PageRequest(limit=step["limit"], after=places.get(step["user_id"]), completed=step["completed"])
        match step["story"]:
            case "create":
                create = CreateTask(tasks=tasks, clock=clock, ids=clock)
                call: Awaitable[Any] = create(**who, title=step["title"] or "x")
            case "get":
                call = GetTask(tasks=tasks)(**one)
            case "list":
                call = ListTasks(tasks=tasks)(**who, page=page)
            case "update":
                call = UpdateTask(tasks=tasks, clock=clock)(**one, **change, **expected)
            case "complete":
                call = CompleteTask(tasks=tasks, clock=clock)(**one, **expected)
            case _:
                call = DeleteTask(tasks=tasks, clock=clock)(**one, **expected)
        result = await outcome(call)
        if isinstance(result, TaskPage):
            places[step["user_id"]] = result.next
        seen.append(result)
    return seen + [
        await tasks.list(user, PageRequest(limit=500, completed=completed))
        for user in ("ada", "Ada", "grace")
        for completed in (None, True, False)
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=30), ticks=st.lists(st.integers(-3, 3), min_size=1, max_size=5))
async def test_three_repositories_live_the_same_history(
    database: Database, history: list[dict[str, Any]], ticks: list[int]
) -> None:
    async with database.connection() as connection:
        await connection.execute("TRUNCATE tasks, task_counters, task_tombstones")
    model, memory, postgres = [
        await tell(tasks, Scripted(ticks), history)
        for tasks in (ModelRepository(), MemoryTaskRepository(), PostgresTaskRepository(database))
    ]
    assert memory == model
    assert postgres == model
