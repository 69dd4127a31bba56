"""A minimal TaskRepository, with which the adapters are compared."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from application import PageRequest, Position, TaskAlreadyExists, TaskNotFound, TaskPage, VersionConflict
from domain import Task


class ModelRepository:
    """A dictionary, a counter, and a sort of everything at each listing."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, UUID], Task] = {}
        self.counters: defaultdict[str, int] = defaultdict(int)

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
        return self._store(replace(task, created_at=stored.created_at))

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> None:
        stored = await self.get(user_id, task_id)
        if expected_version not in (None, stored.version):
            raise VersionConflict
        del self.tasks[user_id, task_id]
        self.counters[user_id] += 1

    def _store(self, task: Task) -> Task:
        self.counters[task.user_id] += 1
        self.tasks[task.user_id, task.id] = replace(task, version=self.counters[task.user_id])
        return self.tasks[task.user_id, task.id]
