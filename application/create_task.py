"""Story: create a task."""

from dataclasses import dataclass

from application.access import only_own_tasks
from application.ports import Clock, TaskIds, TaskRepository
from domain import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """Creates an open task."""

    tasks: TaskRepository
    clock: Clock
    ids: TaskIds

    async def __call__(self, *, actor: str, user_id: str, title: str) -> Task:
        """Store and return a new task with the title stripped.

        Raises Forbidden, InvalidTitle, TaskContended, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        task = Task.create(id=self.ids.new(), user_id=user_id, title=title, now=self.clock.now())
        return await self.tasks.add(task)
