"""Story: create a task."""

from dataclasses import dataclass

from application.access import only_own_tasks
from application.ports import Clock, TaskIds, TaskRepository
from domain import Task, TaskDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """Creates an open task."""

    tasks: TaskRepository
    clock: Clock
    ids: TaskIds

    async def __call__(self, *, actor: str, user_id: str, draft: TaskDraft) -> Task:
        """Store and return a new task.

        Raises NotOwner, TaskContended, StorageUnavailable.
        """
        only_own_tasks(actor=actor, user_id=user_id)
        task = Task.create(draft, id=self.ids.new(), user_id=user_id, now=self.clock.now())
        return await self.tasks.add(task)
